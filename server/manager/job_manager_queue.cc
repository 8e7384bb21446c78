// The part of JobManager that brings queued jobs into memory and binds their
// tasks to actions.
#include <algorithm>
#include <climits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/spec/job_spec_proto.h"
#include "server/job/state.h"
#include "server/manager/job_manager.h"

namespace dasm {
namespace {

// Jobs in memory at a time: at least this, or this many for each slot.
constexpr size_t kLiveJobs = 32;
constexpr size_t kLiveJobsPerSlot = 4;
// More than that, while no task waits for a slot.
constexpr size_t kLiveJobsIdleFactor = 8;

}  // namespace

std::map<std::string, int> JobManager::PoolSlots() {
  std::map<std::string, int> pools;
  for (const auto& [id, worker] : workers_.all()) {
    if (workers_.StateOf(id) == WorkerState::kUnknown) continue;
    pools[worker.report.numerics_class] += worker.report.slots;
  }
  return pools;
}

absl::Status JobManager::CheckPool(const JobSpec& spec) {
  absl::MutexLock lock(&mutex_);
  return CheckPools(NeedsOf(spec), PoolSlots());
}

std::string JobManager::BestClass(const PoolNeeds& needs) {
  const std::map<std::string, int> pools = PoolSlots();
  std::tuple<bool, int> best = {false, 0};
  std::string chosen;
  for (const auto& [id, worker] : workers_.all()) {  // in order of name
    if (workers_.StateOf(id) != WorkerState::kReady) continue;
    const std::string& own = worker.report.numerics_class;
    const std::tuple<bool, int> merit = {CanRun(needs, own, pools.at(own)),
                                         worker.report.slots};
    if (worker.report.slots > 0 && merit > best) {
      best = merit;
      chosen = own;
    }
  }
  return chosen;
}

absl::Status JobManager::BringIn(const std::string& project,
                                 const std::string& id, bool resolve_class) {
  DASM_ASSIGN_OR_RETURN(JobRecord job, parts_.store->GetJob(project, id));
  PoolNeeds needs;
  v1::JobSpec expanded;
  if (resolve_class && expanded.ParseFromString(job.expanded_spec)) {
    // Written by this service; what another one wrote may not expand any more,
    // and then fails where it is planned.
    const auto spec = ExpandSpec(expanded);
    if (spec.ok()) needs = NeedsOf(spec->spec);
  }
  DASM_ASSIGN_OR_RETURN(std::vector<TaskRecord> tasks,
                        parts_.store->GetTasks(id));
  for (int attempt = 0; attempt < 10; ++attempt) {
    uint64_t evictions = 0;
    std::vector<std::string> unknown;
    {
      absl::MutexLock lock(&mutex_);
      evictions = table_.evictions();
      for (const TaskRecord& task : tasks) {
        if (!task.action_key.empty() &&
            table_.FindAction(task.action_key) == nullptr) {
          unknown.push_back(task.action_key);
        }
      }
    }
    std::vector<ActionRecord> actions;
    for (const std::string& key : unknown) {
      DASM_ASSIGN_OR_RETURN(ActionRecord action, parts_.store->GetAction(key));
      actions.push_back(std::move(action));
    }
    absl::MutexLock lock(&mutex_);
    // What was read may be older than what an eviction meanwhile left.
    if (!unknown.empty() && evictions != table_.evictions()) continue;
    DASM_RETURN_IF_ERROR(CheckReady());
    const QueueKey key = KeyOf(job);
    if (!queue_.contains(key)) return absl::OkStatus();
    const std::string numerics_class =
        resolve_class ? BestClass(needs) : std::string();
    // The last worker has just gone: it stays in the queue.
    if (resolve_class && numerics_class.empty()) return absl::OkStatus();
    queue_.erase(key);
    for (ActionRecord& action : actions) table_.AddAction(std::move(action));
    Changes changes;
    table_.AddJob(std::move(job), std::move(tasks), &changes);
    LiveJob* live = table_.FindJob(id);
    if (live->record.numerics_class.empty() && resolve_class) {
      table_.ResolveClass(live, numerics_class, &changes);
    }
    if (!changes.empty()) Enqueue(std::move(changes), nullptr);
    return absl::OkStatus();
  }
  return absl::OkStatus();  // in the queue still: at the next step
}

bool JobManager::Admit() {
  bool any = false;
  for (;;) {
    std::string project;
    std::string id;
    {
      absl::MutexLock lock(&mutex_);
      if (!CheckReady().ok() || queue_.empty()) return any;
      if (BestClass().empty()) return any;
      size_t slots = 0;
      for (const auto& [name, worker] : workers_.all()) {
        if (workers_.StateOf(name) == WorkerState::kReady) {
          slots += static_cast<size_t>(worker.report.slots);
        }
      }
      size_t limit = std::max(kLiveJobs, kLiveJobsPerSlot * slots);
      if (table_.pending().empty()) limit *= kLiveJobsIdleFactor;
      const auto& [key, queued] = *queue_.begin();
      if (table_.jobs().size() >= limit) {
        int lowest = INT_MAX;
        for (const auto& [job_id, job] : table_.jobs()) {
          lowest = std::min(lowest, job.record.priority);
        }
        if (-std::get<0>(key) <= lowest) return any;
      }
      id = std::get<2>(key);
      project = queued.project;
    }
    const absl::Status status = BringIn(project, id, /*resolve_class=*/true);
    if (!status.ok()) {
      DASM_LOG(ERROR, "queued job could not be read")
          .Kv("job", id)
          .Kv("error", std::string(status.message()));
      return any;
    }
    any = true;
  }
}

bool JobManager::BindTasks() {
  struct Candidate {
    TaskKey task;
    ActionRecord action;
    bool in_memory = false;
    bool succeeded = false;  // as far as known when read
    bool complete = false;
  };
  std::vector<Candidate> candidates;
  uint64_t evictions = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (!CheckReady().ok()) return false;
    evictions = table_.evictions();
    Changes changes;
    for (TaskKey& key : table_.Bindable()) {
      absl::StatusOr<ActionRecord> action = table_.ActionOf(key);
      if (!action.ok()) {
        table_.Fail(table_.FindJob(key.job),
                    {std::string(FailureClassName(FailureClass::kInternal)),
                     std::string(action.status().message()), key.task},
                    &changes);
        continue;
      }
      Candidate& candidate = candidates.emplace_back();
      candidate.task = std::move(key);
      candidate.action = *std::move(action);
      const LiveAction* known = table_.FindAction(candidate.action.key);
      if (known == nullptr) continue;
      candidate.in_memory = true;
      candidate.succeeded = known->record.state == ActionState::kSucceeded;
      if (candidate.succeeded) candidate.action = known->record;
    }
    if (!changes.empty()) Enqueue(std::move(changes), nullptr);
  }
  for (Candidate& candidate : candidates) {
    if (!candidate.in_memory) {
      absl::StatusOr<ActionRecord> stored =
          parts_.store->GetAction(candidate.action.key);
      if (stored.ok()) {
        const double interval = candidate.action.checkpoint_interval;
        const int steps = candidate.action.checkpoint_steps;
        candidate.action = *std::move(stored);
        candidate.action.checkpoint_interval = interval;
        candidate.action.checkpoint_steps = steps;
        candidate.succeeded = candidate.action.state == ActionState::kSucceeded;
      } else if (!absl::IsNotFound(stored.status())) {
        return false;  // the tasks are looked at again at the next step
      }
    }
    if (!candidate.succeeded) continue;
    std::vector<std::string> digests;
    for (const auto& [name, output] : candidate.action.outputs) {
      digests.push_back(output.blob.digest);
    }
    candidate.complete = parts_.blobs->FindMissing(digests).empty();
  }
  bool bound = false;
  absl::MutexLock lock(&mutex_);
  if (!CheckReady().ok()) return false;
  Changes changes;
  for (Candidate& candidate : candidates) {
    const LiveJob* job = table_.FindJob(candidate.task.job);
    if (job == nullptr || IsTerminal(job->record.state)) continue;
    const TaskRecord& task = job->tasks.at(candidate.task.task);
    if (task.state != TaskState::kWaiting) continue;
    const LiveAction* known = table_.FindAction(candidate.action.key);
    if (known == nullptr &&
        (candidate.in_memory || evictions != table_.evictions())) {
      continue;  // what was read may be old
    }
    // One that succeeded since then did so with every blob present.
    const bool complete = candidate.complete || !candidate.succeeded;
    metrics_.CacheRequest(table_.Bind(
        candidate.task, std::move(candidate.action), complete, &changes));
    bound = true;
  }
  if (!changes.empty()) Enqueue(std::move(changes), nullptr);
  return bound;
}

}  // namespace dasm
