// The part of NCCL that a gang of devices needs, as an interface: the state
// machine above it (nccl_collective.h) is tested with a fake, and no header but
// that of the loader sees nccl.h.
//
// Communicators are non-blocking: any call may answer kInProgress, and
// AsyncState tells when it is through.
// Threads: thread-safe where NCCL is; Abort may be called while another thread
// is in a call on the same communicator.
#ifndef DASM_WORKER_CUDA_NCCL_API_H_
#define DASM_WORKER_CUDA_NCCL_API_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dasm {

struct NcclComm;  // opaque

struct NcclResult {
  enum class State { kOk, kInProgress, kError };
  State state = State::kOk;
  std::string error;  // where kError: what NCCL says
};

class NcclApi {
 public:
  virtual ~NcclApi() = default;

  // The id of a new gang, kNcclIdBytes bytes and as secret as the gang's
  // secret: who knows it can join.
  virtual absl::StatusOr<std::string> NewId() = 0;
  // Begins to join; *comm is set unless kError. Blocks only to look at its
  // arguments: peers are waited for behind AsyncState.
  virtual NcclResult BeginInit(int ranks, const std::string& id, int rank,
                               NcclComm** comm) = 0;
  virtual NcclResult AsyncState(NcclComm* comm) = 0;

  // Queued on `stream` (a cudaStream_t). Counts are in elements.
  // `receive` is [ranks, count].
  virtual NcclResult AllGather(const float* send, float* receive, int64_t count,
                               NcclComm* comm, void* stream) = 0;
  // In place; the library's own order of adding.
  virtual NcclResult AllReduce(float* values, int64_t count, NcclComm* comm,
                               void* stream) = 0;
  // In place, from rank 0.
  virtual NcclResult BroadcastBytes(char* bytes, int64_t count, NcclComm* comm,
                                    void* stream) = 0;

  // Ends running kernels of this rank and frees the communicator. May block,
  // and is known to hang: call it where that can be borne.
  virtual void Abort(NcclComm* comm) = 0;
  // Frees a communicator whose work is done on every rank. May block.
  virtual void Destroy(NcclComm* comm) = 0;
};

inline constexpr int kNcclIdBytes = 128;

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_NCCL_API_H_
