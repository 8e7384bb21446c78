#include "tests/integration/coordinator/rig.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "common/artifact/digest.h"
#include "common/base/logging.h"
#include "common/spec/yaml.h"
#include "gtest/gtest.h"
#include "tests/integration/coordinator/scripted_work.h"
#include "tests/support/tiny_dataset.h"

namespace dasm::testing_support {

Rig::Rig() : folder(*TemporaryDirectory::Create()) {
  WriteTinyDataset({}, folder->path());
  blobs = std::make_unique<MemoryBlobStore>();
  // In memory: what a store does for durability has its own tests. It outlives
  // the coordinator, as a file would.
  sqlite = *SqliteJobStore::Create({.path = ":memory:"});
  telemetry = *SqliteTelemetryStore::Create({.path = ":memory:"});
  roots = std::make_unique<DataRoots>(*DataRoots::Create({folder->path()}));
  Start();
}

Rig::~Rig() {
  if (manager != nullptr) manager->Stop();
}

void Rig::Start() {
  metrics = std::make_unique<Metrics>();
  store = std::make_unique<FaultyJobStore>(sqlite.get());
  JobManager::Parts parts;
  parts.clock = &clock;
  parts.store = store.get();
  parts.telemetry = telemetry.get();
  parts.blobs = blobs.get();
  parts.roots = roots.get();
  parts.metrics = metrics.get();
  parts.free_bytes = [this]() -> absl::StatusOr<int64_t> {
    return free_bytes.value_or(int64_t{1} << 40);
  };
  JobManager::Options options;
  options.lease = kLease;
  options.min_free_bytes = 1 << 20;
  options.tool_version = "test";
  manager = *JobManager::Create(std::move(options), std::move(parts));
}

void Rig::Restart() {
  manager->Stop();
  manager.reset();
  // Time passes, so that generations of the two differ as they would.
  clock.Advance(absl::Milliseconds(10));
  Start();
}

void Rig::Settle() {
  // A step may queue a transaction whose commit gives the next step work.
  for (int i = 0; i < 4; ++i) {
    manager->Step();
    const auto barrier = sqlite->JobStore::Commit(Transaction{});
    DASM_CHECK(barrier.ok());
  }
}

v1::JobSpec Rig::Spec() { return *ParseJobFile(TinyJob()); }

std::string Rig::Submit(const v1::JobSpec& spec,
                        const std::string& request_id) {
  const auto job = manager->CreateJob("default", spec, request_id, false);
  if (!job.ok()) {
    DASM_LOG(ERROR, "submit failed")
        .Kv("status", std::string(job.status().message()));
  }
  DASM_CHECK(job.ok());
  clock.Advance(absl::Milliseconds(1));
  Settle();
  return job->id;
}

JobView Rig::Get(const std::string& job) {
  auto view = manager->GetJob({"default", job}, /*with_tasks=*/true);
  DASM_CHECK(view.ok());
  return *std::move(view);
}

TaskView Rig::GetTask(const std::string& job, const std::string& task) {
  for (TaskView& view : Get(job).tasks) {
    if (view.task.id == task) return view;
  }
  DASM_CHECK(false);
}

std::vector<std::string> Rig::EventTypes(const std::string& job) {
  std::vector<std::string> types;
  const auto events = store->ListEvents(job, 0, 10000);
  for (const EventRecord& event : *events) {
    types.push_back(event.type);
  }
  return types;
}

double Rig::Metric(const std::string& line_start) {
  for (absl::string_view line : absl::StrSplit(metrics->Text(), '\n')) {
    double value = 0;
    if (absl::StartsWith(line, absl::StrCat(line_start, " ")) &&
        absl::SimpleAtod(line.substr(line_start.size() + 1), &value)) {
      return value;
    }
  }
  return 0;
}

ScriptedWorker::ScriptedWorker(Rig* rig, std::string id, int slots,
                               std::string numerics_class)
    : rig_(rig) {
  report.worker = std::move(id);
  report.incarnation = "1";
  report.slots = slots;
  report.threads = 1;
  report.numerics_class = std::move(numerics_class);
}

void ScriptedWorker::Restart() {
  report.incarnation = absl::StrCat(++incarnation_);
  report.running.clear();
  report.applied_generation = 0;
}

Orders ScriptedWorker::Synchronize() {
  // The first call makes the worker known, so that settling can place work.
  for (int i = 0; i < 2; ++i) {
    // Nothing applied: answered at once.
    report.applied_generation = 0;
    absl::Notification answered;
    absl::StatusOr<Orders> answer;
    rig_->manager->Synchronize(report, [&](absl::StatusOr<Orders> result) {
      answer = std::move(result);
      answered.Notify();
    });
    answered.WaitForNotification();
    DASM_CHECK(answer.ok());
    orders = *std::move(answer);
    report.running.clear();
    for (const WorkOrder& order : orders.assignments) {
      report.running.push_back(
          {order.action.key, order.action.fence, order.rank});
    }
    report.applied_generation = orders.generation;
    rig_->manager->Synchronize(report, [](absl::StatusOr<Orders>) {});
    rig_->Settle();
  }
  // Whatever settling brought.
  report.applied_generation = 0;
  absl::Notification answered;
  rig_->manager->Synchronize(report, [&](absl::StatusOr<Orders> result) {
    DASM_CHECK(result.ok());
    orders = *std::move(result);
    answered.Notify();
  });
  answered.WaitForNotification();
  return orders;
}

WorkOrder ScriptedWorker::SynchronizeOne() {
  Synchronize();
  EXPECT_EQ(orders.assignments.size(), 1u);
  return orders.assignments.empty() ? WorkOrder() : orders.assignments[0];
}

absl::Status ScriptedWorker::Finish(const WorkOrder& order) {
  const ActionRecord& action = order.action;
  const ScriptedResult result =
      WorkOn(action.kind, action.key, action.parameters_json);
  std::map<std::string, OutputRecord> outputs;
  for (const auto& [name, bytes] : result.outputs) {
    const auto digest = WriteBlob(rig_->blobs.get(), bytes);
    DASM_CHECK(digest.ok());
    outputs[name].blob = {*digest, static_cast<int64_t>(bytes.size())};
  }
  return rig_->manager->CommitResult(report.worker, action.key, action.fence,
                                     std::move(outputs), result.summary_json,
                                     1.5);
}

absl::Status ScriptedWorker::Fail(const WorkOrder& order, FailureClass failure,
                                  const std::string& message) {
  return rig_->manager->ReportFailure(report.worker, order.action.key,
                                      order.action.fence, failure, message);
}

absl::Status ScriptedWorker::Checkpoint(const WorkOrder& order, int64_t step) {
  const std::string bytes =
      absl::StrCat(order.action.key, "/checkpoint/", step);
  const auto digest = WriteBlob(rig_->blobs.get(), bytes);
  DASM_CHECK(digest.ok());
  CheckpointRecord checkpoint;
  checkpoint.blob = {*digest, static_cast<int64_t>(bytes.size())};
  checkpoint.step = step;
  return rig_->manager->CommitCheckpoint(report.worker, order.action.key,
                                         order.action.fence,
                                         std::move(checkpoint));
}

int ScriptedWorker::RunAll() {
  int finished = 0;
  for (;;) {
    Synchronize();
    if (orders.assignments.empty()) return finished;
    for (const WorkOrder& order : orders.assignments) {
      const absl::Status status = Finish(order);
      DASM_CHECK(status.ok());
      ++finished;
    }
  }
}

}  // namespace dasm::testing_support
