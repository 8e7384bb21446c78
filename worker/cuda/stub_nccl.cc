// Almost NCCL, for the tests of nccl_library.h: of another version, or without
// a function.
extern "C" {
int ncclGetVersion(int* version) {
  *version = DASM_STUB_NCCL_VERSION;
  return 0;
}
#ifndef DASM_STUB_NCCL_LACKS_ABORT
int ncclCommAbort(void*) { return 0; }
#endif
int ncclGetUniqueId(void*) { return 0; }
int ncclCommInitRankConfig() { return 0; }
int ncclCommGetAsyncError() { return 0; }
int ncclCommFinalize() { return 0; }
int ncclCommDestroy() { return 0; }
const char* ncclGetErrorString(int) { return ""; }
const char* ncclGetLastError(void*) { return ""; }
int ncclAllGather() { return 0; }
int ncclAllReduce() { return 0; }
int ncclBroadcast() { return 0; }
}
