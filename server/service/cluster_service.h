// dasm.v1.ClusterService: workers and the server itself.
#ifndef DASM_SERVER_SERVICE_CLUSTER_SERVICE_H_
#define DASM_SERVER_SERVICE_CLUSTER_SERVICE_H_

#include <string>
#include <utility>

#include "absl/time/time.h"
#include "common/rpc/handler.h"
#include "dasm/v1/cluster.grpc.pb.h"
#include "server/manager/job_manager.h"

namespace dasm {

class ClusterService final : public v1::ClusterService::Service {
 public:
  ClusterService(JobManager* manager, std::string version, absl::Time start,
                 RpcMetrics* metrics)
      : manager_(manager),
        version_(std::move(version)),
        start_(start),
        metrics_(metrics) {}

  grpc::Status ListWorkers(grpc::ServerContext* context,
                           const v1::ListWorkersRequest* request,
                           v1::ListWorkersResponse* response) override;
  grpc::Status DrainWorker(grpc::ServerContext* context,
                           const v1::DrainWorkerRequest* request,
                           v1::Worker* response) override;
  grpc::Status GetServerInfo(grpc::ServerContext* context,
                             const v1::GetServerInfoRequest* request,
                             v1::ServerInfo* response) override;

 private:
  JobManager* const manager_;
  const std::string version_;
  const absl::Time start_;
  RpcMetrics* const metrics_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_CLUSTER_SERVICE_H_
