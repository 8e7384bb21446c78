#include "worker/cuda/nccl_library.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nccl.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

static_assert(kNcclIdBytes == NCCL_UNIQUE_ID_BYTES);

constexpr char kRemedy[] =
    "; install the NCCL that torch " DASM_TORCH_VERSION " pins, and no other";

ncclComm_t Of(NcclComm* comm) { return reinterpret_cast<ncclComm_t>(comm); }
cudaStream_t StreamOf(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

// The functions by their own types.
struct Functions {
  decltype(&ncclGetVersion) get_version;
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRankConfig) init;
  decltype(&ncclCommGetAsyncError) get_async_error;
  decltype(&ncclCommFinalize) finalize;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclCommAbort) abort;
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetLastError) last_error;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclBroadcast) broadcast;
};

class NcclLibrary final : public NcclApi {
 public:
  NcclLibrary(int device, const Functions& nccl)
      : device_(device), nccl_(nccl) {}

  absl::StatusOr<std::string> NewId() override {
    ncclUniqueId id;
    const ncclResult_t result = nccl_.get_unique_id(&id);
    if (result != ncclSuccess) {
      return absl::UnavailableError(
          absl::StrCat("ncclGetUniqueId: ", Explain(result, nullptr)));
    }
    return std::string(id.internal, sizeof(id.internal));
  }

  NcclResult BeginInit(int ranks, const std::string& id, int rank,
                       NcclComm** comm) override {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclUniqueId unique;
    std::memcpy(unique.internal, id.data(), sizeof(unique.internal));
    if (const cudaError_t error = cudaSetDevice(device_);
        error != cudaSuccess) {
      return {NcclResult::State::kError, cudaGetErrorString(error)};
    }
    ncclComm_t made = nullptr;
    const NcclResult result =
        Result(nccl_.init(&made, ranks, unique, rank, &config), made);
    *comm = reinterpret_cast<NcclComm*>(made);
    if (result.state != NcclResult::State::kError && made == nullptr) {
      return {NcclResult::State::kError, "NCCL gave no communicator"};
    }
    return result;
  }

  NcclResult AsyncState(NcclComm* comm) override {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = nccl_.get_async_error(Of(comm), &state);
    return Result(asked == ncclSuccess ? state : asked, Of(comm));
  }

  NcclResult AllGather(const float* send, float* receive, int64_t count,
                       NcclComm* comm, void* stream) override {
    return Result(nccl_.all_gather(send, receive, count, ncclFloat, Of(comm),
                                   StreamOf(stream)),
                  Of(comm));
  }
  NcclResult AllReduce(float* values, int64_t count, NcclComm* comm,
                       void* stream) override {
    return Result(nccl_.all_reduce(values, values, count, ncclFloat, ncclSum,
                                   Of(comm), StreamOf(stream)),
                  Of(comm));
  }
  NcclResult BroadcastBytes(char* bytes, int64_t count, NcclComm* comm,
                            void* stream) override {
    return Result(nccl_.broadcast(bytes, bytes, count, ncclChar, /*root=*/0,
                                  Of(comm), StreamOf(stream)),
                  Of(comm));
  }

  void Abort(NcclComm* comm) override {
    // A thread of its own begins at device 0.
    cudaSetDevice(device_);
    nccl_.abort(Of(comm));
  }

  void Destroy(NcclComm* comm) override {
    cudaSetDevice(device_);
    ncclResult_t result = nccl_.finalize(Of(comm));
    // Non-blocking: destroying before it is through is an error. Who called
    // watches the time.
    while (result == ncclInProgress) {
      if (nccl_.get_async_error(Of(comm), &result) != ncclSuccess) break;
    }
    if (result == ncclSuccess) {
      nccl_.destroy(Of(comm));
    } else {
      nccl_.abort(Of(comm));
    }
  }

 private:
  std::string Explain(ncclResult_t result, ncclComm_t comm) const {
    std::string text = nccl_.error_string(result);
    const char* last = nccl_.last_error(comm);
    if (last != nullptr && *last != '\0')
      absl::StrAppend(&text, " (", last, ")");
    return text;
  }
  NcclResult Result(ncclResult_t result, ncclComm_t comm) const {
    if (result == ncclSuccess) return {};
    if (result == ncclInProgress) return {NcclResult::State::kInProgress, ""};
    return {NcclResult::State::kError, Explain(result, comm)};
  }

  const int device_;
  const Functions nccl_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NcclApi>> OpenNccl(int device,
                                                  const std::string& library) {
  void* const handle = dlopen(library.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("NCCL cannot be loaded: ", dlerror(), kRemedy));
  }
  Functions nccl = {};
  const char* missing = nullptr;
  const auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(
        dlsym(handle, name));
    if (*function == nullptr && missing == nullptr) missing = name;
  };
  find("ncclGetVersion", &nccl.get_version);
  find("ncclGetUniqueId", &nccl.get_unique_id);
  find("ncclCommInitRankConfig", &nccl.init);
  find("ncclCommGetAsyncError", &nccl.get_async_error);
  find("ncclCommFinalize", &nccl.finalize);
  find("ncclCommDestroy", &nccl.destroy);
  find("ncclCommAbort", &nccl.abort);
  find("ncclGetErrorString", &nccl.error_string);
  find("ncclGetLastError", &nccl.last_error);
  find("ncclAllGather", &nccl.all_gather);
  find("ncclAllReduce", &nccl.all_reduce);
  find("ncclBroadcast", &nccl.broadcast);
  if (missing != nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(library, " has no ", missing, kRemedy));
  }
  int version = 0;
  nccl.get_version(&version);
  // major * 10000 + minor * 100 + patch.
  if (version / 100 != NCCL_VERSION_CODE / 100) {
    return absl::FailedPreconditionError(
        absl::StrCat(library, " is NCCL ", version, ", this was built with ",
                     NCCL_VERSION_CODE, kRemedy));
  }
  return std::make_unique<NcclLibrary>(device, nccl);
}

}  // namespace dasm
