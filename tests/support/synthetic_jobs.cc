#include "tests/support/synthetic_jobs.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dasm {
namespace {

// More would only cost memory: the store writes several hundred to one fsync.
constexpr int kInFlight = 2000;

JobState StateOf(int64_t number) {
  if (number % 100 == 0) return JobState::kQueued;
  if (number % 100 == 1) return JobState::kRunning;
  return number % 20 == 2 ? JobState::kFailed : JobState::kSucceeded;
}

}  // namespace

JobRecord SyntheticJob(int64_t number, int spec_bytes) {
  JobRecord job;
  job.id = absl::StrFormat("j%09d", number);
  job.project = "default";
  job.uid = absl::StrFormat("00000000-0000-4000-8000-%012d", number);
  job.request_id = "request-" + job.id;
  job.spec.assign(static_cast<size_t>(spec_bytes), 's');
  job.expanded_spec.assign(static_cast<size_t>(2 * spec_bytes), 'e');
  job.spec_digest = absl::StrFormat("%064d", number);
  job.method = "dasm";
  job.priority = 3;
  job.checkpoint_interval = 30;
  job.salt = "salt";
  job.state = JobState::kQueued;
  job.numerics_class = "cpu-avx2-1";
  job.create_time = absl::FromUnixSeconds(1'700'000'000 + number);
  job.start_time = job.create_time + absl::Seconds(1);
  job.update_time = job.create_time + absl::Seconds(2);
  job.tasks_total = 7;
  job.tasks_done = 3;
  return job;
}

TaskRecord SyntheticTask(const std::string& job, const std::string& id,
                         const std::string& action_key) {
  TaskRecord task;
  task.job = job;
  task.id = id;
  task.kind = "distill_segment";
  task.parameters_json = R"({"seed":0,"steps":100})";
  task.inputs["dataset"] = {.task = "prepare", .output = "dataset"};
  task.inputs["start"] = {.blob = {std::string(64, 'b'), 4096}};
  task.source_files.push_back(
      {"train_images", "fashion/train-images", std::string(64, 'c')});
  task.ranks = 2;
  task.state = action_key.empty() ? TaskState::kWaiting : TaskState::kPending;
  task.action_key = action_key;
  return task;
}

ActionRecord SyntheticAction(const std::string& key) {
  ActionRecord action;
  action.key = key;
  action.kind = "distill_segment";
  action.parameters_json = R"({"seed":0,"steps":100})";
  action.inputs["dataset"] = {std::string(64, 'd'), 1 << 20};
  action.numerics_class = "cpu-avx2-1";
  action.ranks = 2;
  action.create_time = absl::FromUnixSeconds(1'700'000'000);
  return action;
}

absl::Status FillJobStore(JobStore* store, int64_t jobs) {
  absl::Mutex mutex;
  int in_flight = 0;
  absl::Status first_error;
  for (int64_t number = 0; number < jobs; ++number) {
    JobRecord job = SyntheticJob(number);
    job.state = StateOf(number);
    if (IsTerminal(job.state)) {
      job.end_time = job.create_time + absl::Minutes(10);
      job.report_json.assign(2000, 'r');
      job.manifest_json.assign(1000, 'm');
    }
    Transaction transaction;
    transaction.tasks.push_back(SyntheticTask(job.id, "segment-1", ""));
    transaction.events.push_back({.job = job.id,
                                  .time = job.create_time,
                                  .type = "JOB_CREATED",
                                  .message = "submitted",
                                  .body = std::string(200, 'v')});
    transaction.insert_job = std::move(job);
    {
      absl::MutexLock lock(&mutex);
      mutex.Await(absl::Condition(
          +[](int* count) { return *count < kInFlight; }, &in_flight));
      if (!first_error.ok()) break;
      ++in_flight;
    }
    store->Commit(std::move(transaction),
                  [&](absl::StatusOr<CommitReceipt> receipt) {
                    absl::MutexLock lock(&mutex);
                    --in_flight;
                    first_error.Update(receipt.status());
                  });
  }
  absl::MutexLock lock(&mutex);
  mutex.Await(absl::Condition(
      +[](int* count) { return *count == 0; }, &in_flight));
  return first_error;
}

}  // namespace dasm
