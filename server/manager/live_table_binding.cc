// The part of LiveTable that binds tasks to actions: keys, cache, single
// flight.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "server/job/state.h"
#include "server/manager/live_table.h"
#include "server/planner/action_key.h"

namespace dasm {

std::vector<TaskKey> LiveTable::Bindable() {
  std::vector<TaskKey> result;
  for (const std::string& id : std::exchange(recheck_, {})) {
    LiveJob* job = FindJob(id);
    if (job == nullptr || IsTerminal(job->record.state)) continue;
    if (job->record.numerics_class.empty()) continue;
    for (const auto& [task_id, task] : job->tasks) {
      if (task.state != TaskState::kWaiting) continue;
      bool known = true;
      for (const auto& [name, input] : task.inputs) {
        if (input.task.empty()) continue;
        const auto parent = job->tasks.find(input.task);
        known = known && parent != job->tasks.end() &&
                parent->second.state == TaskState::kSucceeded;
      }
      if (known) result.push_back({id, task_id});
    }
    // Looked at again until all of them are bound.
    if (!result.empty() && result.back().job == id) recheck_.insert(id);
  }
  return result;
}

absl::StatusOr<ActionRecord> LiveTable::ActionOf(const TaskKey& key) {
  LiveJob* job = FindJob(key.job);
  DASM_CHECK(job != nullptr);
  const TaskRecord& task = job->tasks.at(key.task);
  ActionRecord action;
  action.kind = task.kind;
  action.parameters_json = task.parameters_json;
  action.source_files = task.source_files;
  action.numerics_class = job->record.numerics_class;
  action.ranks = std::max(1, task.ranks);
  action.gang = task.gang;
  action.memory = task.memory;
  action.checkpoint_interval = job->record.checkpoint_interval;
  action.checkpoint_steps = job->record.checkpoint_steps;
  action.create_time = clock_->Now();
  std::map<std::string, std::string> digests;
  for (const auto& [name, input] : task.inputs) {
    BlobRef blob = input.blob;
    if (!input.task.empty()) {
      const TaskRecord& parent = job->tasks.at(input.task);
      const LiveAction* made = FindAction(parent.action_key);
      const bool has =
          made != nullptr && made->record.outputs.contains(input.output);
      if (!has) {
        return absl::InternalError(absl::StrCat(
            "task ", input.task, " has no output named ", input.output));
      }
      blob = made->record.outputs.at(input.output).blob;
    }
    action.inputs[name] = blob;
    digests[name] = blob.digest;
  }
  for (const SourceFileRecord& file : task.source_files) {
    digests[absl::StrCat("file.", file.role)] = file.digest;
  }
  action.key = ActionKey(action.kind, action.parameters_json, digests,
                         action.numerics_class, job->record.salt);
  return action;
}

CacheAnswer LiveTable::Bind(const TaskKey& key, ActionRecord record,
                            bool complete, Changes* changes) {
  LiveJob* job = FindJob(key.job);
  TaskRecord* task = &job->tasks.at(key.task);
  const double interval = record.checkpoint_interval;
  const int steps = record.checkpoint_steps;
  const bool known = actions_.contains(record.key);
  const std::string action_key = record.key;
  AddAction(std::move(record));
  LiveAction* action = FindAction(action_key);
  const bool joined = known && IsWanted(*action);
  task->action_key = action_key;
  action->users.insert(key);
  action->record.checkpoint_interval =
      std::min(action->record.checkpoint_interval, interval);
  if (int& kept = action->record.checkpoint_steps; steps > 0) {
    kept = kept > 0 ? std::min(kept, steps) : steps;
  }
  action->record.use_time = clock_->Now();
  changes->tasks.insert(key);
  changes->actions.insert(action_key);

  CacheAnswer answer = joined ? CacheAnswer::kJoined : CacheAnswer::kMiss;
  if (!joined && action->record.state != ActionState::kRunning) {
    // The key says nothing about the gang: an earlier job's may be one that
    // this job did not ask for.
    action->record.ranks = std::max(1, task->ranks);
    action->record.gang = task->gang;
    action->record.memory = task->memory;
    action->record.regroup_until = absl::InfinitePast();
  }
  switch (action->record.state) {
    case ActionState::kSucceeded:
      if (action->record.prune_time != absl::InfinitePast()) {
        answer = CacheAnswer::kMiss;
      } else {
        answer = complete ? CacheAnswer::kHit : CacheAnswer::kIncomplete;
      }
      if (answer != CacheAnswer::kHit) {
        SetState(action, ActionState::kPending, changes);
      }
      break;
    case ActionState::kFailed:
      // Another job's failure: this one gets the full budget.
      action->record.retries.clear();
      action->record.failure = {};
      action->record.not_before = absl::InfinitePast();
      action->record.end_time = absl::InfinitePast();
      SetState(action, ActionState::kPending, changes);
      break;
    case ActionState::kRunning:
      answer = CacheAnswer::kJoined;
      break;
    case ActionState::kPending:
      break;
  }
  if (answer == CacheAnswer::kHit) {
    CompleteTask(job, task, /*cached=*/true, changes);
    FinishIfDone(job, changes);
  } else {
    SetState(job, task, TaskState::kPending, changes);
    Follow(job, task, action, changes);
    Reconsider(action_key, changes);
  }
  return answer;
}

}  // namespace dasm
