// dasm.v1.ArtifactService over the blob store. A blob that is missing or bad is
// told to the manager, which has it made again.
#ifndef DASM_SERVER_SERVICE_ARTIFACT_SERVICE_H_
#define DASM_SERVER_SERVICE_ARTIFACT_SERVICE_H_

#include "common/artifact/blob_store.h"
#include "common/metrics/metrics.h"
#include "common/rpc/handler.h"
#include "dasm/v1/artifact.grpc.pb.h"
#include "server/manager/job_manager.h"
#include "server/service/work_pool.h"

namespace dasm {

class ArtifactService final
    : public v1::ArtifactService::WithCallbackMethod_ReadBlob<
          v1::ArtifactService::WithCallbackMethod_WriteBlob<
              v1::ArtifactService::Service>> {
 public:
  // Borrows all of them; `rpc_metrics` may be null.
  ArtifactService(JobManager* manager, BlobStore* blobs, WorkPool* pool,
                  Metrics* metrics, RpcMetrics* rpc_metrics);

  grpc::ServerWriteReactor<v1::BlobChunk>* ReadBlob(
      grpc::CallbackServerContext* context,
      const v1::ReadBlobRequest* request) override;
  grpc::ServerReadReactor<v1::WriteBlobRequest>* WriteBlob(
      grpc::CallbackServerContext* context,
      v1::WriteBlobResponse* response) override;
  grpc::Status FindMissingBlobs(
      grpc::ServerContext* context, const v1::FindMissingBlobsRequest* request,
      v1::FindMissingBlobsResponse* response) override;

 private:
  JobManager* const manager_;
  BlobStore* const blobs_;
  WorkPool* const pool_;
  RpcMetrics* const rpc_metrics_;
  prometheus::Counter* const bytes_read_;
  prometheus::Counter* const bytes_written_;
  prometheus::Counter* const verify_failures_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_ARTIFACT_SERVICE_H_
