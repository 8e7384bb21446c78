// The coordinator's services over a unix socket, on stores of a test, and a
// scripted worker behind them.
#ifndef DASM_TESTS_INTEGRATION_COORDINATOR_SERVICE_FIXTURE_H_
#define DASM_TESTS_INTEGRATION_COORDINATOR_SERVICE_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/artifact/local_blob_store.h"
#include "common/base/temporary_directory.h"
#include "common/dataset/data_roots.h"
#include "common/metrics/metrics.h"
#include "dasm/v1/artifact.grpc.pb.h"
#include "dasm/v1/cluster.grpc.pb.h"
#include "dasm/v1/job_service.grpc.pb.h"
#include "dasm/worker/v1/worker_service.grpc.pb.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "server/manager/job_manager.h"
#include "server/service/grpc_server.h"
#include "server/store/sqlite_job_store.h"
#include "server/store/sqlite_telemetry_store.h"

namespace dasm::testing_support {

// Ends a test that hangs.
inline constexpr absl::Duration kLimit = absl::Minutes(2);

inline void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + kLimit));
}

class ServiceFixture : public ::testing::Test {
 protected:
  ServiceFixture();
  ~ServiceFixture() override { Stop(); }

  // On the same stores, once more.
  void Start();
  void Stop();

  // The tiny DASM job (tests/support/tiny_dataset.h), with a trainer rank where
  // it has several; its full name.
  std::string Submit(const std::string& salt = "", int ranks = 1);
  v1::Job Get(const std::string& name);
  // One held or immediate Synchronize; keeps what it learnt in `request`.
  worker::v1::SynchronizeResponse Synchronize(
      worker::v1::SynchronizeRequest* request);
  static worker::v1::SynchronizeRequest WorkerRequest(int slots = 2);
  // Uploads the scripted outputs, tells a few points and a line, commits.
  void Finish(const worker::v1::Assignment& assignment);
  // Works until `job` has ended.
  void Work(const std::string& job);
  // Stored events from `after` on; breaks the stream after `limit` of them.
  std::vector<v1::JobEvent> Watch(const std::string& job, uint64_t after,
                                  size_t limit = SIZE_MAX);

  std::unique_ptr<TemporaryDirectory> folder_;
  std::string address_;
  Metrics metrics_;
  std::unique_ptr<SqliteJobStore> store_;
  std::unique_ptr<SqliteTelemetryStore> telemetry_;
  std::unique_ptr<LocalBlobStore> blobs_;
  std::unique_ptr<DataRoots> roots_;
  std::unique_ptr<JobManager> manager_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  std::unique_ptr<v1::ClusterService::Stub> cluster_;
  std::unique_ptr<worker::v1::WorkerService::Stub> workers_;
};

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_INTEGRATION_COORDINATOR_SERVICE_FIXTURE_H_
