#include "server/manager/job_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/manager/commit_waiter.h"

namespace dasm {
namespace {

constexpr absl::Duration kStepPeriod = absl::Milliseconds(100);
constexpr absl::Duration kReloadPeriod = absl::Seconds(1);
constexpr absl::Duration kGaugePeriod = absl::Seconds(1);
constexpr absl::Duration kForgetWorkerAfter = absl::Hours(1);

absl::Status StoreDown() {
  return absl::UnavailableError(
      "the coordinator's store does not work at the moment; try again");
}

}  // namespace

JobManager::JobManager(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      metrics_(parts_.metrics),
      table_(parts_.clock, options_.tool_version),
      workers_(parts_.clock, options_.lease,
               static_cast<uint64_t>(std::max<int64_t>(
                   1, absl::ToUnixMicros(parts_.clock->Now())))),
      gangs_(parts_.clock) {}

absl::StatusOr<std::unique_ptr<JobManager>> JobManager::Create(Options options,
                                                               Parts parts) {
  if (options.lease < absl::Seconds(1) || options.lease > absl::Hours(1)) {
    return InvalidField("lease", "must be between 1 s and 1 h");
  }
  std::unique_ptr<JobManager> manager(
      new JobManager(std::move(options), std::move(parts)));
  DASM_RETURN_IF_ERROR(manager->Load());
  manager->FinishPruning();
  manager->MeasureFreeSpace();
  manager->RefreshGauges();
  return manager;
}

JobManager::~JobManager() { Stop(); }

void JobManager::Start() {
  thread_ = std::thread([this] { Run(); });
}

void JobManager::Run() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&kicked_), kStepPeriod);
      kicked_ = false;
      if (stopped_) return;
    }
    Step();
  }
}

void JobManager::Kick() {
  absl::MutexLock lock(&mutex_);
  kicked_ = true;
}

void JobManager::Stop() {
  After after;
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    kicked_ = true;
    for (auto& [id, worker] : workers_.all()) {
      if (!worker.held.has_value()) continue;
      after.push_back([done = *std::move(worker.held)]() mutable {
        std::move(done)(absl::UnavailableError("the coordinator is stopping"));
      });
      worker.held.reset();
    }
    gangs_.Refuse(absl::UnavailableError("the coordinator is stopping"),
                  &after);
  }
  for (auto& call : after) std::move(call)();
  hub_.Close();
  if (thread_.joinable()) thread_.join();
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return in_flight_ == 0;
  };
  mutex_.Await(absl::Condition(&idle));
}

absl::Status JobManager::Load() {
  DASM_ASSIGN_OR_RETURN(JobStore::Live live, parts_.store->LoadLive());
  After after;
  {
    absl::MutexLock lock(&mutex_);
    table_.Clear();
    queue_.clear();
    Changes changes;
    for (ActionRecord& action : live.actions) {
      table_.AddAction(std::move(action));
    }
    std::map<std::string, std::vector<TaskRecord>> tasks;
    for (TaskRecord& task : live.tasks) {
      tasks[task.job].push_back(std::move(task));
    }
    for (JobRecord& job : live.jobs) {
      if (job.state == JobState::kQueued) {
        queue_[KeyOf(job)] = {job.project};
      } else {
        std::vector<TaskRecord> own = std::move(tasks[job.id]);
        table_.AddJob(std::move(job), std::move(own), &changes);
      }
    }
    table_.Evict();
    workers_.drained().clear();
    for (const WorkerRecord& worker : live.workers) {
      if (worker.draining) workers_.drained().insert(worker.id);
    }
    for (const std::string& worker : table_.PlacedWorkers()) {
      workers_.FindOrAdd(worker);
      workers_.leases().Restore(worker);
    }
    broken_ = false;
    for (auto& [id, worker] : workers_.all()) News(id, &after);
    if (!changes.empty()) Enqueue(std::move(changes), nullptr);
    DASM_LOG(INFO, "state loaded")
        .Kv("live_jobs", table_.jobs().size())
        .Kv("queued_jobs", queue_.size())
        .Kv("actions", table_.actions().size());
  }
  for (auto& call : after) std::move(call)();
  return absl::OkStatus();
}

void JobManager::ReloadIfBroken() {
  {
    absl::MutexLock lock(&mutex_);
    if (!broken_ || in_flight_ > 0 || stopped_) return;
    if (parts_.clock->Steady() < reload_at_) return;
    reload_at_ = parts_.clock->Steady() + kReloadPeriod;
  }
  // Writable again? An empty disk to write to is what most failures lack.
  const absl::Status written = Barrier();
  const absl::Status loaded = written.ok() ? Load() : written;
  if (!loaded.ok()) {
    DASM_LOG(WARNING, "store still does not work")
        .Kv("error", std::string(loaded.message()));
  }
}

void JobManager::Step() {
  absl::MutexLock step(&step_mutex_);
  ReloadIfBroken();
  MeasureFreeSpace();
  After after;
  {
    absl::MutexLock lock(&mutex_);
    if (!CheckReady().ok()) return;
    ExpireLeases();
    const absl::Duration now = parts_.clock->Steady();
    for (auto& [id, worker] : workers_.all()) {
      if (!worker.held.has_value() || now < worker.held_until) continue;
      after.push_back(
          [done = *std::move(worker.held), orders = OrdersFor(id)]() mutable {
            std::move(done)(std::move(orders));
          });
      worker.held.reset();
    }
    TendGangs(&after);
  }
  for (auto& call : after) std::move(call)();
  for (bool more = true; more;) {
    more = Admit();
    more = BindTasks() || more;
  }
  Schedule();
  RefreshGauges();
}

absl::Status JobManager::CheckReady() {
  if (stopped_) return absl::UnavailableError("the coordinator is stopping");
  if (broken_) return StoreDown();
  return absl::OkStatus();
}

void JobManager::Enqueue(Changes changes, CommitDone done) {
  Transaction transaction = table_.ToTransaction(changes);
  ++in_flight_;
  const absl::Duration start = parts_.clock->Steady();
  parts_.store->Commit(
      std::move(transaction),
      [this, changes = std::move(changes), start,
       done = std::move(done)](absl::StatusOr<CommitReceipt> receipt) mutable {
        OnCommitted(changes, receipt.status(), parts_.clock->Steady() - start,
                    std::move(done));
      });
}

void JobManager::OnCommitted(const Changes& changes, const absl::Status& status,
                             absl::Duration took, CommitDone done) {
  After after;
  {
    absl::MutexLock lock(&mutex_);
    table_.Committed(changes, status.ok());
    if (!status.ok()) {
      // The memory is ahead of the store now, and so is whatever was queued
      // behind: nothing more is told to anybody until it was read again.
      broken_ = true;
      DASM_LOG(ERROR, "commit failed")
          .Kv("error", std::string(status.message()));
    } else if (!broken_) {
      metrics_.Count(changes);
      metrics_.CommitTook(took);
      for (const std::string& worker : changes.workers) News(worker, &after);
      table_.Evict();
    }
  }
  if (done != nullptr) std::move(done)(status);
  for (auto& call : after) std::move(call)();
  if (status.ok()) {
    std::set<std::string> jobs;
    for (const EventRecord& event : changes.events) jobs.insert(event.job);
    for (const std::string& job : jobs) hub_.Notify(job, {});
  }
  // Last, because Stop lets the manager go once nothing is under way.
  absl::MutexLock lock(&mutex_);
  --in_flight_;
  kicked_ = true;
}

absl::Status JobManager::Barrier() {
  CommitWaiter waiter;
  {
    absl::MutexLock lock(&mutex_);
    Enqueue({}, waiter.Callback());
  }
  return waiter.Wait();
}

JobManager::QueueKey JobManager::KeyOf(const JobRecord& job) {
  return {-job.priority, absl::ToUnixMicros(job.create_time), job.id};
}

void JobManager::MeasureFreeSpace() {
  if (parts_.free_bytes == nullptr) return;
  {
    absl::MutexLock lock(&mutex_);
    if (parts_.clock->Steady() < space_at_) return;
    space_at_ = parts_.clock->Steady() + absl::Seconds(1);
  }
  const absl::StatusOr<int64_t> free = parts_.free_bytes();
  if (free.ok()) metrics_.SetFreeBytes(*free);
  absl::MutexLock lock(&mutex_);
  const bool full = free.ok() && *free < options_.min_free_bytes;
  if (full != nearly_full_) {
    DASM_LOG(WARNING, full ? "store is nearly full" : "store has space again");
  }
  nearly_full_ = full;
}

absl::Status JobManager::CheckFreeSpace() {
  MeasureFreeSpace();
  absl::MutexLock lock(&mutex_);
  if (!nearly_full_) return absl::OkStatus();
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat(
          "the store has less than ", options_.min_free_bytes >> 20,
          " MiB free (--min-free): free some space on the coordinator's disk")),
      "STORE_NEARLY_FULL");
}

std::string JobManager::Readiness() {
  absl::MutexLock lock(&mutex_);
  return std::string(CheckReady().message());
}

void JobManager::RefreshGauges() {
  {
    absl::MutexLock lock(&mutex_);
    if (parts_.clock->Steady() < gauges_at_) return;
    gauges_at_ = parts_.clock->Steady() + kGaugePeriod;
    std::map<std::string, int> by_state;
    std::vector<std::string> gone;
    for (const auto& [id, worker] : workers_.all()) {
      switch (workers_.StateOf(id)) {
        case WorkerState::kReady:
          ++by_state["READY"];
          break;
        case WorkerState::kDraining:
          ++by_state["DRAINING"];
          break;
        case WorkerState::kUnknown:
          ++by_state["UNKNOWN"];
          if (!workers_.leases().IsLive(id) &&
              parts_.clock->Now() - worker.last_seen > kForgetWorkerAfter) {
            gone.push_back(id);
          }
          break;
      }
    }
    for (const std::string& id : gone) workers_.Remove(id);
    metrics_.SetWorkers(by_state);
    if (table_.pending().empty()) {
      metrics_.SetPending({{"queued", static_cast<int>(queue_.size())}});
    }
  }
  const auto jobs = parts_.store->CountJobs();
  if (jobs.ok()) metrics_.SetJobs(*jobs);
}

}  // namespace dasm
