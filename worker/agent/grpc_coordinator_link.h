// CoordinatorLink over gRPC.
#ifndef DASM_WORKER_AGENT_GRPC_COORDINATOR_LINK_H_
#define DASM_WORKER_AGENT_GRPC_COORDINATOR_LINK_H_

#include <memory>
#include <string>

#include "common/base/file_system.h"
#include "dasm/v1/artifact.grpc.pb.h"
#include "dasm/worker/v1/worker_service.grpc.pb.h"
#include "grpcpp/channel.h"
#include "worker/agent/coordinator_link.h"

namespace dasm {

class GrpcCoordinatorLink final : public CoordinatorLink {
 public:
  GrpcCoordinatorLink(const std::shared_ptr<grpc::Channel>& channel,
                      FileSystem* fs);

  std::shared_ptr<SynchronizeCall> Synchronize(
      const worker::v1::SynchronizeRequest& request,
      absl::Duration timeout) override;
  std::shared_ptr<JoinGangCall> JoinGang(
      const worker::v1::JoinGangRequest& request,
      absl::Duration timeout) override;
  absl::Status CommitResult(
      const worker::v1::CommitResultRequest& request) override;
  absl::Status ReportFailure(
      const worker::v1::ReportFailureRequest& request) override;
  absl::Status CommitCheckpoint(
      const worker::v1::CommitCheckpointRequest& request) override;
  absl::Status ReportTelemetry(
      const worker::v1::ReportTelemetryRequest& request) override;
  absl::Status Download(const std::string& digest, const std::string& path,
                        int mode) override;
  absl::Status Upload(const std::string& digest, int64_t size_bytes,
                      const std::string& path) override;

 private:
  const std::unique_ptr<worker::v1::WorkerService::Stub> stub_;
  const std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  FileSystem* const fs_;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_GRPC_COORDINATOR_LINK_H_
