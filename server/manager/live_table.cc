#include "server/manager/live_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/job/state.h"

namespace dasm {
namespace {

// Longest chains of children; the graph has no cycles (the planner made it).
std::map<std::string, int> Chains(
    const std::map<std::string, TaskRecord>& tasks) {
  std::map<std::string, int> chains;
  // Each round settles at least the tasks one step further from the end.
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [id, task] : tasks) {
      const int own = chains[id];
      for (const auto& [name, input] : task.inputs) {
        if (input.task.empty() || chains[input.task] > own) continue;
        chains[input.task] = own + 1;
        changed = true;
      }
    }
  }
  return chains;
}

}  // namespace

LiveJob* LiveTable::FindJob(const std::string& id) {
  const auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : &it->second;
}

LiveAction* LiveTable::FindAction(const std::string& key) {
  const auto it = actions_.find(key);
  return it == actions_.end() ? nullptr : &it->second;
}

std::set<std::string> LiveTable::RunningOn(const std::string& worker) const {
  const auto it = running_on_.find(worker);
  return it == running_on_.end() ? std::set<std::string>() : it->second;
}

std::vector<std::string> LiveTable::PlacedWorkers() const {
  std::vector<std::string> workers;
  for (const auto& [worker, keys] : running_on_) workers.push_back(worker);
  return workers;
}

void LiveTable::Clear() {
  jobs_.clear();
  actions_.clear();
  pending_.clear();
  repairs_.clear();
  running_on_.clear();
  recheck_.clear();
  ended_jobs_.clear();
  uncommitted_jobs_.clear();
  maybe_unused_.clear();
  ++evictions_;
}

void LiveTable::AddAction(ActionRecord record) {
  const std::string key = record.key;
  auto [it, inserted] = actions_.try_emplace(key);
  if (!inserted) return;
  LiveAction& action = it->second;
  action.record = std::move(record);
  maybe_unused_.insert(key);
  switch (action.record.state) {
    case ActionState::kPending:
      pending_.insert(key);
      action.pending_since = clock_->Now();
      break;
    case ActionState::kRunning:
      // Read from the store, so its fence is durable.
      action.handed_out = true;
      action.placed = clock_->Now();
      if (action.record.workers.empty()) {
        action.record.workers = {action.record.worker};
      }
      for (const std::string& worker : action.record.workers) {
        running_on_[worker].insert(key);
      }
      break;
    case ActionState::kSucceeded:
    case ActionState::kFailed:
      break;
  }
}

void LiveTable::AddJob(JobRecord record, std::vector<TaskRecord> tasks,
                       Changes* changes) {
  const std::string id = record.id;
  auto [it, inserted] = jobs_.try_emplace(id);
  if (!inserted) return;
  LiveJob& job = it->second;
  job.record = std::move(record);
  for (TaskRecord& task : tasks) {
    const std::string task_id = task.id;
    job.tasks.emplace(task_id, std::move(task));
  }
  job.chains = Chains(job.tasks);
  job.record.tasks_done = 0;
  for (auto& [task_id, task] : job.tasks) {
    if (task.state == TaskState::kSucceeded) ++job.record.tasks_done;
    LiveAction* action = FindAction(task.action_key);
    if (action != nullptr) action->users.insert({id, task_id});
  }
  for (auto& [task_id, task] : job.tasks) {
    if (IsTerminal(task.state) || task.action_key.empty()) continue;
    LiveAction* action = FindAction(task.action_key);
    if (action == nullptr) {
      // The store promises to have it; without it the job cannot go on.
      Fail(&job,
           {std::string(FailureClassName(FailureClass::kInternal)),
            absl::StrCat("the store lost action ", task.action_key), task_id},
           changes);
      return;
    }
    Follow(&job, &task, action, changes);
    if (IsTerminal(job.record.state)) return;
  }
  recheck_.insert(id);
  FinishIfDone(&job, changes);
}

void LiveTable::ResolveClass(LiveJob* job, const std::string& numerics_class,
                             Changes* changes) {
  job->record.numerics_class = numerics_class;
  recheck_.insert(job->record.id);
  Touch(job, changes);
}

bool LiveTable::IsWanted(const LiveAction& action) const {
  if (action.repair) return true;
  for (const TaskKey& user : action.users) {
    const auto job = jobs_.find(user.job);
    if (job != jobs_.end() && !IsTerminal(job->second.record.state) &&
        IsActive(job->second.tasks.at(user.task).state)) {
      return true;
    }
  }
  return false;
}

int LiveTable::PriorityOf(const LiveAction& action) const {
  std::optional<int> highest;
  for (const TaskKey& user : action.users) {
    const auto job = jobs_.find(user.job);
    if (job == jobs_.end() || IsTerminal(job->second.record.state)) continue;
    highest = std::max(highest.value_or(job->second.record.priority),
                       job->second.record.priority);
  }
  return highest.value_or(0);
}

int LiveTable::ChainOf(const LiveAction& action) const {
  int longest = 0;
  for (const TaskKey& user : action.users) {
    const auto job = jobs_.find(user.job);
    if (job == jobs_.end()) continue;
    longest = std::max(longest, job->second.chains.at(user.task));
  }
  return longest;
}

absl::Time LiveTable::OldestClaim(const LiveAction& action) const {
  absl::Time oldest = absl::InfiniteFuture();
  for (const TaskKey& user : action.users) {
    const auto job = jobs_.find(user.job);
    if (job == jobs_.end() || IsTerminal(job->second.record.state)) continue;
    oldest = std::min(oldest, job->second.record.create_time);
  }
  return oldest == absl::InfiniteFuture() ? action.record.create_time : oldest;
}

Transaction LiveTable::ToTransaction(const Changes& changes) {
  Transaction transaction;
  transaction.require_fence = changes.require_fence;
  for (const std::string& id : changes.jobs) {
    const LiveJob* job = FindJob(id);
    if (job == nullptr) continue;
    transaction.jobs.push_back(job->record);
    ++uncommitted_jobs_[id];
  }
  for (const TaskKey& key : changes.tasks) {
    const LiveJob* job = FindJob(key.job);
    if (job != nullptr) transaction.tasks.push_back(job->tasks.at(key.task));
  }
  for (const std::string& key : changes.actions) {
    LiveAction* action = FindAction(key);
    if (action == nullptr) continue;
    transaction.actions.push_back(action->record);
    ++action->uncommitted;
  }
  transaction.events = changes.events;
  return transaction;
}

void LiveTable::Committed(const Changes& changes, bool durable) {
  for (const std::string& id : changes.jobs) {
    const auto it = uncommitted_jobs_.find(id);
    if (it != uncommitted_jobs_.end() && --it->second == 0) {
      uncommitted_jobs_.erase(it);
    }
  }
  for (const std::string& key : changes.actions) {
    LiveAction* action = FindAction(key);
    if (action == nullptr) continue;
    --action->uncommitted;
    maybe_unused_.insert(key);
  }
  if (!durable) return;
  for (const auto& [key, fence] : changes.placed) {
    LiveAction* action = FindAction(key);
    if (action != nullptr && action->record.state == ActionState::kRunning &&
        action->record.fence == fence) {
      action->handed_out = true;
    }
  }
}

void LiveTable::Evict() {
  for (auto it = ended_jobs_.begin(); it != ended_jobs_.end();) {
    if (uncommitted_jobs_.contains(*it)) {
      ++it;
      continue;
    }
    LiveJob* job = FindJob(*it);
    if (job != nullptr) {
      for (const auto& [id, task] : job->tasks) {
        LiveAction* action = FindAction(task.action_key);
        if (action == nullptr) continue;
        action->users.erase({*it, id});
        maybe_unused_.insert(task.action_key);
      }
      jobs_.erase(*it);
      ++evictions_;
    }
    it = ended_jobs_.erase(it);
  }
  for (const std::string& key : std::exchange(maybe_unused_, {})) {
    const auto it = actions_.find(key);
    if (it == actions_.end()) continue;
    const LiveAction& action = it->second;
    // One under way is looked at again when its transaction has ended.
    if (!action.users.empty() || action.repair || action.uncommitted > 0 ||
        action.record.state == ActionState::kRunning) {
      continue;
    }
    pending_.erase(key);
    actions_.erase(it);
    ++evictions_;
  }
}

}  // namespace dasm
