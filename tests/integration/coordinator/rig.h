// A coordinator without its network: the real job manager over the real stores,
// a clock that moves when told to, and workers that do as the test says.
#ifndef DASM_TESTS_INTEGRATION_COORDINATOR_RIG_H_
#define DASM_TESTS_INTEGRATION_COORDINATOR_RIG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/base/fake_clock.h"
#include "common/base/temporary_directory.h"
#include "common/metrics/metrics.h"
#include "dasm/v1/job.pb.h"
#include "server/manager/job_manager.h"
#include "server/store/faulty_job_store.h"
#include "server/store/sqlite_job_store.h"
#include "server/store/sqlite_telemetry_store.h"
#include "tests/integration/coordinator/memory_blob_store.h"

namespace dasm::testing_support {

inline constexpr absl::Duration kLease = absl::Seconds(6);

class Rig {
 public:
  Rig();
  ~Rig();

  // Ends the coordinator and starts another on the same stores.
  void Restart();
  // Steps until everything that follows from what happened is durable.
  void Settle();
  // The tiny DASM job (tests/support/tiny_dataset.h).
  static v1::JobSpec Spec();
  // Submits and settles; the id.
  std::string Submit(const v1::JobSpec& spec = Spec(),
                     const std::string& request_id = "");
  JobView Get(const std::string& job);
  TaskView GetTask(const std::string& job, const std::string& task);
  JobState State(const std::string& job) { return Get(job).job.state; }
  std::vector<std::string> EventTypes(const std::string& job);
  // dasm_...{labels} of the text format; 0 when there is no such line.
  double Metric(const std::string& line_start);

  FakeClock clock;
  std::unique_ptr<TemporaryDirectory> folder;
  std::unique_ptr<MemoryBlobStore> blobs;
  std::unique_ptr<SqliteJobStore> sqlite;
  std::unique_ptr<FaultyJobStore> store;
  std::unique_ptr<SqliteTelemetryStore> telemetry;
  std::unique_ptr<Metrics> metrics;
  std::unique_ptr<DataRoots> roots;
  std::unique_ptr<JobManager> manager;
  std::optional<int64_t> free_bytes;

 private:
  void Start();
};

// A worker that takes what it is given and finishes it when told to.
class ScriptedWorker {
 public:
  ScriptedWorker(Rig* rig, std::string id, int slots = 1,
                 std::string numerics_class = "test-class");

  // One round of Synchronize: settles, learns what should run, acknowledges
  // it, and settles again.
  Orders Synchronize();
  // The same where exactly one assignment is expected: that one.
  WorkOrder SynchronizeOne();
  // Another process of the same worker.
  void Restart();

  // The scripted result of an assignment.
  absl::Status Finish(const WorkOrder& order);
  absl::Status Fail(const WorkOrder& order, FailureClass failure,
                    const std::string& message = "as scripted");
  absl::Status Checkpoint(const WorkOrder& order, int64_t step);
  // Synchronizes and finishes until nothing is assigned any more; how many
  // tasks it finished.
  int RunAll();

  WorkerReport report;
  Orders orders;  // of the last round

 private:
  Rig* const rig_;
  int incarnation_ = 1;
};

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_INTEGRATION_COORDINATOR_RIG_H_
