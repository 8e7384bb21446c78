#include "server/manager/live_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/spec/job_spec_proto.h"
#include "dasm/v1/job_service.pb.h"
#include "server/job/state.h"
#include "server/manager/job_proto.h"
#include "server/manager/retry_policy.h"
#include "server/planner/action_key.h"
#include "server/planner/report.h"

namespace dasm {
namespace {

constexpr int kKeptCheckpoints = 2;

std::string_view EventType(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "job_created";
    case JobState::kRunning:
      return "job_running";
    case JobState::kSucceeded:
      return "job_succeeded";
    case JobState::kFailed:
      return "job_failed";
    case JobState::kCancelled:
      return "job_cancelled";
  }
  return "";
}

bool IsActive(TaskState state) {
  return state == TaskState::kPending || state == TaskState::kRunning;
}

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

absl::StatusOr<JobResult> MakeResult(
    const LiveJob& job, const std::map<std::string, LiveAction>& actions,
    const std::string& tool_version, absl::Time now) {
  v1::JobSpec proto;
  if (!proto.ParseFromString(job.record.expanded_spec)) {
    return absl::InternalError("the stored spec does not parse");
  }
  JobResult result;
  DASM_ASSIGN_OR_RETURN(const ExpandedSpec expanded, ExpandSpec(proto));
  result.spec = expanded.spec;
  result.numerics_class = job.record.numerics_class;
  result.tool_version = tool_version;
  result.total_seconds = absl::ToDoubleSeconds(now - job.record.start_time);
  for (const auto& [id, task] : job.tasks) {
    const auto action = actions.find(task.action_key);
    if (action == actions.end()) {
      return absl::InternalError(absl::StrCat("task ", id, " has no action"));
    }
    const ActionRecord& record = action->second.record;
    FinishedTask finished;
    finished.id = id;
    finished.kind = task.kind;
    finished.parameters_json = task.parameters_json;
    finished.action_key = task.action_key;
    std::set<std::string> parents;
    for (const auto& [name, input] : task.inputs) {
      if (!input.task.empty()) parents.insert(input.task);
    }
    finished.parents.assign(parents.begin(), parents.end());
    finished.summary_json = record.summary_json;
    finished.seconds = record.seconds;
    for (const auto& [name, output] : record.outputs) {
      finished.outputs.push_back({name, output.blob.digest,
                                  output.blob.size_bytes,
                                  output.chunk_digests});
    }
    result.tasks.push_back(std::move(finished));
  }
  return result;
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
      action.workers = absl::StrSplit(action.record.worker, ',');
      action.workers.resize(std::max(1, action.record.ranks),
                            action.workers.front());
      for (const std::string& worker : action.workers) {
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
  action.checkpoint_interval = job->record.checkpoint_interval;
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
  const bool known = actions_.contains(record.key);
  const std::string action_key = record.key;
  AddAction(std::move(record));
  LiveAction* action = FindAction(action_key);
  const bool joined = known && IsWanted(*action);
  task->action_key = action_key;
  action->users.insert(key);
  action->record.checkpoint_interval =
      std::min(action->record.checkpoint_interval, interval);
  changes->tasks.insert(key);
  changes->actions.insert(action_key);

  CacheAnswer answer = joined ? CacheAnswer::kJoined : CacheAnswer::kMiss;
  switch (action->record.state) {
    case ActionState::kSucceeded:
      answer = complete ? CacheAnswer::kHit : CacheAnswer::kIncomplete;
      if (!complete) SetState(action, ActionState::kPending, changes);
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

// Brings a bound, unfinished task to where its action is.
void LiveTable::Follow(LiveJob* job, TaskRecord* task, LiveAction* action,
                       Changes* changes) {
  const TaskState before = task->state;
  switch (action->record.state) {
    case ActionState::kPending:
      SetState(job, task, TaskState::kPending, changes);
      return;
    case ActionState::kRunning:
      if (before == TaskState::kWaiting) {
        SetState(job, task, TaskState::kPending, changes);
      }
      if (task->state == TaskState::kRunning) return;
      SetState(job, JobState::kRunning, "", changes);
      SetState(job, task, TaskState::kRunning, changes);
      if (task->start_time == absl::InfinitePast()) {
        task->start_time = clock_->Now();
      }
      Event(job, "task_running", task,
            absl::StrCat("on ", action->record.worker), changes);
      return;
    case ActionState::kSucceeded:
      CompleteTask(job, task, /*cached=*/false, changes);
      return;
    case ActionState::kFailed: {
      FailureRecord failure = action->record.failure;
      failure.task = task->id;
      if (task->state == TaskState::kWaiting) {
        SetState(job, task, TaskState::kPending, changes);
      }
      Fail(job, failure, changes);
      return;
    }
  }
}

void LiveTable::CompleteTask(LiveJob* job, TaskRecord* task, bool cached,
                             Changes* changes) {
  const absl::Time now = clock_->Now();
  SetState(job, JobState::kRunning, "", changes);
  SetState(job, task, TaskState::kSucceeded, changes);
  task->cached = cached;
  if (task->start_time == absl::InfinitePast()) task->start_time = now;
  task->end_time = now;
  ++job->record.tasks_done;
  recheck_.insert(job->record.id);
  Touch(job, changes);
  Event(job, "task_succeeded", task,
        cached ? "the result of an earlier run" : "", changes);
}

void LiveTable::FinishIfDone(LiveJob* job, Changes* changes) {
  if (IsTerminal(job->record.state)) return;
  for (const auto& [id, task] : job->tasks) {
    if (task.state != TaskState::kSucceeded) return;
  }
  SetState(job, JobState::kRunning, "", changes);
  const auto finish = [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(
        const JobResult result,
        MakeResult(*job, actions_, tool_version_, clock_->Now()));
    DASM_ASSIGN_OR_RETURN(job->record.report_json, ReportJson(result));
    DASM_ASSIGN_OR_RETURN(job->record.manifest_json, ManifestJson(result));
    return absl::OkStatus();
  };
  const absl::Status status = finish();
  if (status.ok()) {
    SetState(job, JobState::kSucceeded, "", changes);
    ReleaseTasks(job, changes);
  } else {
    Fail(job,
         {std::string(FailureClassName(FailureClass::kInternal)),
          absl::StrCat("the report could not be made: ",
                       std::string(status.message()))},
         changes);
  }
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

void LiveTable::Place(LiveAction* action, std::vector<std::string> workers,
                      Changes* changes) {
  ActionRecord& record = action->record;
  SetState(action, ActionState::kRunning, changes);
  ++record.fence;
  ++record.attempts;
  if (record.start_time == absl::InfinitePast()) {
    record.start_time = clock_->Now();
  }
  const bool one_worker =
      std::adjacent_find(workers.begin(), workers.end(),
                         std::not_equal_to<>()) == workers.end();
  record.worker = one_worker ? workers.front() : absl::StrJoin(workers, ",");
  action->workers = std::move(workers);
  action->handed_out = false;
  action->pending_reason.clear();
  action->progress = {};
  for (const std::string& worker : action->workers) {
    running_on_[worker].insert(record.key);
    changes->workers.insert(worker);
  }
  changes->placed[record.key] = record.fence;
  for (auto& [key, task] : LiveUsers(*action)) {
    Follow(FindJob(key.job), task, action, changes);
  }
}

void LiveTable::Succeed(LiveAction* action,
                        std::map<std::string, OutputRecord> outputs,
                        std::string summary_json, double seconds,
                        Changes* changes) {
  ActionRecord& record = action->record;
  SetState(action, ActionState::kSucceeded, changes);
  ClearPlacement(action, changes);
  record.outputs = std::move(outputs);
  record.summary_json = std::move(summary_json);
  record.seconds = seconds;
  record.end_time = clock_->Now();
  record.checkpoints.clear();
  record.retries.clear();
  record.failure = {};
  changes->ended.emplace_back(record.kind, "SUCCEEDED");
  const auto users = LiveUsers(*action);
  for (auto& [key, task] : users) {
    CompleteTask(FindJob(key.job), task, /*cached=*/false, changes);
  }
  for (auto& [key, task] : users) FinishIfDone(FindJob(key.job), changes);
}

void LiveTable::EndAttempt(LiveAction* action, FailureClass failure,
                           const std::string& message, Changes* changes) {
  ActionRecord& record = action->record;
  const std::string name(FailureClassName(failure));
  const std::string worker = record.worker;
  changes->ended.emplace_back(record.kind, name);
  ClearPlacement(action, changes);
  if (!IsWanted(*action)) {
    // Released: nobody minds how it ended.
    SetState(action, ActionState::kPending, changes);
    return;
  }
  const RetryDecision decision = DecideRetry(failure, record.retries[name]);
  if (!decision.retry) {
    SetState(action, ActionState::kFailed, changes);
    action->repair = false;
    repairs_.erase(record.key);
    record.failure = {name, message, ""};
    record.end_time = clock_->Now();
    for (auto& [key, task] : LiveUsers(*action)) {
      LiveJob* job = FindJob(key.job);
      if (IsTerminal(job->record.state)) continue;
      Follow(job, task, action, changes);
    }
    return;
  }
  if (decision.counts) {
    ++record.retries[name];
    changes->retried.push_back(name);
  }
  record.not_before = decision.back_off > absl::ZeroDuration()
                          ? clock_->Now() + decision.back_off
                          : absl::InfinitePast();
  record.avoid_worker = decision.elsewhere ? worker : "";
  SetState(action, ActionState::kPending, changes);
  for (auto& [key, task] : LiveUsers(*action)) {
    LiveJob* job = FindJob(key.job);
    Follow(job, task, action, changes);
    Event(job, "task_retried", task, absl::StrCat(name, ": ", message),
          changes);
  }
}

void LiveTable::AddCheckpoint(LiveAction* action, CheckpointRecord checkpoint,
                              Changes* changes) {
  ActionRecord& record = action->record;
  const int64_t step = checkpoint.step;
  record.checkpoints.insert(record.checkpoints.begin(), std::move(checkpoint));
  if (record.checkpoints.size() > kKeptCheckpoints) {
    record.checkpoints.resize(kKeptCheckpoints);
  }
  // Progress was made: every budget is whole again.
  record.retries.clear();
  changes->actions.insert(record.key);
  for (auto& [key, task] : LiveUsers(*action)) {
    Event(FindJob(key.job), "checkpoint", task, absl::StrCat("step ", step),
          changes);
  }
}

void LiveTable::DropCheckpoint(LiveAction* action, const std::string& digest,
                               Changes* changes) {
  const auto dropped = std::erase_if(action->record.checkpoints,
                                     [&](const CheckpointRecord& checkpoint) {
                                       return checkpoint.blob.digest == digest;
                                     });
  if (dropped > 0) changes->actions.insert(action->record.key);
}

void LiveTable::Repair(LiveAction* action, Changes* changes) {
  action->repair = true;
  repairs_.insert(action->record.key);
  // The outputs stay in the record: whoever finds another of them missing
  // still finds out which action makes it.
  if (action->record.state == ActionState::kSucceeded) {
    SetState(action, ActionState::kPending, changes);
  }
  Reconsider(action->record.key, changes);
}

void LiveTable::Cancel(LiveJob* job, const std::string& message,
                       Changes* changes) {
  if (IsTerminal(job->record.state)) return;
  for (auto& [id, task] : job->tasks) {
    if (IsTerminal(task.state)) continue;
    SetState(job, &task, TaskState::kCancelled, changes);
    task.end_time = clock_->Now();
  }
  SetState(job, JobState::kCancelled, message, changes);
  ReleaseTasks(job, changes);
}

void LiveTable::Fail(LiveJob* job, FailureRecord failure, Changes* changes) {
  if (IsTerminal(job->record.state)) return;
  for (auto& [id, task] : job->tasks) {
    if (IsTerminal(task.state)) continue;
    const bool failed = id == failure.task && IsActive(task.state);
    SetState(job, &task, failed ? TaskState::kFailed : TaskState::kCancelled,
             changes);
    task.end_time = clock_->Now();
    if (failed) {
      task.failure = failure;
      Event(job, "task_failed", &task,
            absl::StrCat(failure.failure_class, ": ", failure.message),
            changes);
    }
  }
  job->record.failure = failure;
  SetState(job, JobState::kFailed,
           absl::StrCat(failure.failure_class, ": ", failure.message), changes);
  ReleaseTasks(job, changes);
}

void LiveTable::ReleaseTasks(LiveJob* job, Changes* changes) {
  ended_jobs_.insert(job->record.id);
  for (const auto& [id, task] : job->tasks) {
    if (!task.action_key.empty()) Reconsider(task.action_key, changes);
  }
}

void LiveTable::Reconsider(const std::string& action_key, Changes* changes) {
  const LiveAction* action = FindAction(action_key);
  if (action == nullptr) return;
  maybe_unused_.insert(action_key);
  for (const std::string& worker : action->workers) {
    changes->workers.insert(worker);
  }
}

void LiveTable::ClearPlacement(LiveAction* action, Changes* changes) {
  for (const std::string& worker : action->workers) {
    changes->workers.insert(worker);
    const auto it = running_on_.find(worker);
    if (it == running_on_.end()) continue;
    it->second.erase(action->record.key);
    if (it->second.empty()) running_on_.erase(it);
  }
  action->workers.clear();
  action->handed_out = false;
  action->progress = {};
  action->record.worker.clear();
  changes->actions.insert(action->record.key);
}

std::map<TaskKey, TaskRecord*> LiveTable::LiveUsers(const LiveAction& action) {
  std::map<TaskKey, TaskRecord*> users;
  for (const TaskKey& key : action.users) {
    LiveJob* job = FindJob(key.job);
    if (job == nullptr || IsTerminal(job->record.state)) continue;
    TaskRecord* task = &job->tasks.at(key.task);
    if (!IsTerminal(task->state)) users[key] = task;
  }
  return users;
}

void LiveTable::SetState(LiveJob* job, JobState state,
                         const std::string& message, Changes* changes) {
  JobRecord& record = job->record;
  if (record.state == state) return;
  DASM_CHECK(CheckTransition(record.state, state).ok());
  record.state = state;
  if (state == JobState::kRunning) record.start_time = clock_->Now();
  if (IsTerminal(state)) record.end_time = clock_->Now();
  changes->entered.push_back(state);
  Touch(job, changes);
  Event(job, EventType(state), nullptr, message, changes);
}

void LiveTable::SetState(LiveJob* job, TaskRecord* task, TaskState state,
                         Changes* changes) {
  if (task->state == state) return;
  DASM_CHECK(CheckTransition(task->state, state).ok());
  task->state = state;
  changes->tasks.insert({job->record.id, task->id});
  Touch(job, changes);
}

void LiveTable::SetState(LiveAction* action, ActionState state,
                         Changes* changes) {
  ActionRecord& record = action->record;
  if (record.state != state) {
    DASM_CHECK(CheckTransition(record.state, state).ok());
    record.state = state;
  }
  if (state == ActionState::kPending) {
    pending_.insert(record.key);
    action->pending_since = clock_->Now();
  } else {
    pending_.erase(record.key);
  }
  if (state == ActionState::kSucceeded) {
    action->repair = false;
    repairs_.erase(record.key);
  }
  maybe_unused_.insert(record.key);
  changes->actions.insert(record.key);
}

void LiveTable::Event(LiveJob* job, std::string_view type,
                      const TaskRecord* task, const std::string& message,
                      Changes* changes) {
  EventRecord event;
  event.job = job->record.id;
  event.time = clock_->Now();
  event.type = std::string(type);
  if (task != nullptr) event.task = task->id;
  event.message = message;
  v1::JobEvent body;
  *body.mutable_time() = ToProto(event.time);
  body.set_type(event.type);
  body.set_task(event.task);
  body.set_message(message);
  *body.mutable_job() = ToProto(job->record, /*with_specs=*/false);
  if (task != nullptr) {
    TaskView view;
    view.task = *task;
    const LiveAction* action = FindAction(task->action_key);
    if (action != nullptr) view.action = action->record;
    *body.mutable_task_state() = ToProto(job->record, view);
  }
  event.body = body.SerializeAsString();
  changes->events.push_back(std::move(event));
}

void LiveTable::Touch(LiveJob* job, Changes* changes) {
  // Strictly increasing, because the etag is made from it.
  job->record.update_time =
      std::max(clock_->Now(), job->record.update_time + absl::Microseconds(1));
  changes->jobs.insert(job->record.id);
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
