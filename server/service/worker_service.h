// dasm.worker.v1.WorkerService: what agents call. Synchronize and JoinGang are
// held by the manager, so they run on the callback API and cost no thread
// meanwhile.
#ifndef DASM_SERVER_SERVICE_WORKER_SERVICE_H_
#define DASM_SERVER_SERVICE_WORKER_SERVICE_H_

#include "common/rpc/handler.h"
#include "dasm/worker/v1/worker_service.grpc.pb.h"
#include "server/manager/job_manager.h"

namespace dasm {

class WorkerService final
    : public worker::v1::WorkerService::WithCallbackMethod_Synchronize<
          worker::v1::WorkerService::WithCallbackMethod_JoinGang<
              worker::v1::WorkerService::Service>> {
 public:
  WorkerService(JobManager* manager, RpcMetrics* metrics)
      : manager_(manager), metrics_(metrics) {}

  grpc::ServerUnaryReactor* Synchronize(
      grpc::CallbackServerContext* context,
      const worker::v1::SynchronizeRequest* request,
      worker::v1::SynchronizeResponse* response) override;
  grpc::ServerUnaryReactor* JoinGang(
      grpc::CallbackServerContext* context,
      const worker::v1::JoinGangRequest* request,
      worker::v1::JoinGangResponse* response) override;
  grpc::Status CommitResult(
      grpc::ServerContext* context,
      const worker::v1::CommitResultRequest* request,
      worker::v1::CommitResultResponse* response) override;
  grpc::Status ReportFailure(
      grpc::ServerContext* context,
      const worker::v1::ReportFailureRequest* request,
      worker::v1::ReportFailureResponse* response) override;
  grpc::Status CommitCheckpoint(
      grpc::ServerContext* context,
      const worker::v1::CommitCheckpointRequest* request,
      worker::v1::CommitCheckpointResponse* response) override;
  grpc::Status ReportTelemetry(
      grpc::ServerContext* context,
      const worker::v1::ReportTelemetryRequest* request,
      worker::v1::ReportTelemetryResponse* response) override;

 private:
  JobManager* const manager_;
  RpcMetrics* const metrics_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_WORKER_SERVICE_H_
