// All of the coordinator's services on one listener, with grpc.health.v1 and
// reflection.
#ifndef DASM_SERVER_SERVICE_GRPC_SERVER_H_
#define DASM_SERVER_SERVICE_GRPC_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/artifact/blob_store.h"
#include "common/metrics/metrics.h"
#include "common/rpc/handler.h"
#include "grpcpp/server.h"
#include "server/manager/job_manager.h"
#include "server/service/artifact_service.h"
#include "server/service/cluster_service.h"
#include "server/service/expert_service.h"
#include "server/service/job_service.h"
#include "server/service/work_pool.h"
#include "server/service/worker_service.h"
#include "server/store/job_store.h"
#include "server/store/telemetry_store.h"

namespace dasm {

class GrpcServer {
 public:
  struct Options {
    std::string address;  // "host:port" (port 0: any free one) or "unix:PATH"
    std::string version;
  };
  // Borrowed, for the server's life time.
  struct Parts {
    JobManager* manager = nullptr;
    JobStore* store = nullptr;
    TelemetryStore* telemetry = nullptr;
    BlobStore* blobs = nullptr;
    Metrics* metrics = nullptr;
  };

  // FAILED_PRECONDITION (field listen) when the address is in use or cannot be
  // listened on. A unix socket that nobody listens on any more is replaced.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(Options options,
                                                           Parts parts);
  // Shutdown with no patience if it was not called.
  ~GrpcServer();

  // With the port resolved.
  const std::string& address() const { return address_; }
  // Refuses new calls and gives those under way `patience` to end. The
  // manager's Stop comes first: it ends the held ones.
  void Shutdown(absl::Duration patience);

 private:
  GrpcServer(const Options& options, const Parts& parts);

  std::string address_;
  RpcMetrics metrics_;
  WorkPool pool_;
  JobService jobs_;
  ArtifactService artifacts_;
  ClusterService cluster_;
  ExpertService experts_;
  WorkerService workers_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_GRPC_SERVER_H_
