// What the agent asks of its coordinator: one method a call of WorkerService,
// and blobs. The seam between the agent's logic and gRPC.
//
// Errors: the codes of worker_service.proto and artifact.proto with their
//   reasons as payloads (common/base/error.h); UNAVAILABLE or
//   DEADLINE_EXCEEDED when the coordinator cannot be reached.
// Threads: thread-safe. Every call has a deadline of its own.
#ifndef DASM_WORKER_AGENT_COORDINATOR_LINK_H_
#define DASM_WORKER_AGENT_COORDINATOR_LINK_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dasm/worker/v1/worker_service.pb.h"

namespace dasm {

class CoordinatorLink {
 public:
  // A call on its way that the coordinator may hold.
  template <typename Response>
  class HeldCall {
   public:
    virtual ~HeldCall() = default;
    // Once only. CANCELLED after Cancel().
    virtual absl::StatusOr<Response> Wait() = 0;
    // From any thread, at any time.
    virtual void Cancel() = 0;
  };
  using SynchronizeCall = HeldCall<worker::v1::SynchronizeResponse>;
  using JoinGangCall = HeldCall<worker::v1::JoinGangResponse>;

  virtual ~CoordinatorLink() = default;
  virtual std::shared_ptr<SynchronizeCall> Synchronize(
      const worker::v1::SynchronizeRequest& request,
      absl::Duration timeout) = 0;
  virtual std::shared_ptr<JoinGangCall> JoinGang(
      const worker::v1::JoinGangRequest& request, absl::Duration timeout) = 0;
  virtual absl::Status CommitResult(
      const worker::v1::CommitResultRequest& request) = 0;
  virtual absl::Status ReportFailure(
      const worker::v1::ReportFailureRequest& request) = 0;
  virtual absl::Status CommitCheckpoint(
      const worker::v1::CommitCheckpointRequest& request) = 0;
  virtual absl::Status ReportTelemetry(
      const worker::v1::ReportTelemetryRequest& request) = 0;
  // Writes the verified blob to `path` atomically with permissions `mode`.
  virtual absl::Status Download(const std::string& digest,
                                const std::string& path, int mode) = 0;
  // OK also when the coordinator has it.
  virtual absl::Status Upload(const std::string& digest, int64_t size_bytes,
                              const std::string& path) = 0;
};

// Whether the same call may succeed later, without a change on our side.
inline bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsCancelled(status);
}

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_COORDINATOR_LINK_H_
