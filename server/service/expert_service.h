// dasm.v1.ExpertService over the store's records and the manager's decisions.
#ifndef DASM_SERVER_SERVICE_EXPERT_SERVICE_H_
#define DASM_SERVER_SERVICE_EXPERT_SERVICE_H_

#include "common/artifact/blob_store.h"
#include "common/rpc/handler.h"
#include "dasm/v1/expert.grpc.pb.h"
#include "server/manager/job_manager.h"
#include "server/store/job_store.h"

namespace dasm {

class ExpertService final : public v1::ExpertService::Service {
 public:
  // Borrows all of them; `metrics` may be null.
  ExpertService(JobManager* manager, JobStore* store, BlobStore* blobs,
                RpcMetrics* metrics)
      : manager_(manager), store_(store), blobs_(blobs), metrics_(metrics) {}

  grpc::Status ListExperts(grpc::ServerContext* context,
                           const v1::ListExpertsRequest* request,
                           v1::ListExpertsResponse* response) override;
  grpc::Status GetExpert(grpc::ServerContext* context,
                         const v1::GetExpertRequest* request,
                         v1::Expert* response) override;
  grpc::Status VerifyExpert(grpc::ServerContext* context,
                            const v1::VerifyExpertRequest* request,
                            v1::VerifyExpertResponse* response) override;
  grpc::Status PruneExperts(grpc::ServerContext* context,
                            const v1::PruneExpertsRequest* request,
                            v1::PruneExpertsResponse* response) override;

 private:
  JobManager* const manager_;
  JobStore* const store_;
  BlobStore* const blobs_;
  RpcMetrics* const metrics_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_EXPERT_SERVICE_H_
