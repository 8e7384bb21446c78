// The part of LiveTable that moves jobs and tasks through their states.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/task_parameters.h"
#include "dasm/v1/job_service.pb.h"
#include "server/job/state.h"
#include "server/manager/job_proto.h"
#include "server/manager/live_table.h"
#include "server/manager/oom_policy.h"
#include "server/planner/report.h"

namespace dasm {
namespace {

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
    for (const PeakMemoryRecord& peak : record.peaks) {
      finished.peak_host_bytes =
          std::max(finished.peak_host_bytes, peak.host_bytes);
      finished.peak_device_bytes =
          std::max(finished.peak_device_bytes, peak.device_bytes);
    }
    finished.replanned_micro_batch = task.replanned_micro_batch;
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

void LiveTable::Replan(LiveJob* job, TaskRecord* task, int micro_batch,
                       Changes* changes) {
  // From here on it has nothing to do with the action that failed.
  if (LiveAction* failed = FindAction(task->action_key); failed != nullptr) {
    failed->users.erase({job->record.id, task->id});
    maybe_unused_.insert(task->action_key);
  }
  SetState(job, task, TaskState::kPending, changes);
  SetState(job, task, TaskState::kWaiting, changes);
  task->action_key.clear();
  task->parameters_json =
      WithMicroBatch(task->kind, task->parameters_json, micro_batch);
  task->replanned_micro_batch = micro_batch;
  task->memory.total_bytes =
      task->memory.fixed_bytes + task->memory.bytes_per_image * micro_batch;
  // A class that is cut is no longer one rank's.
  task->gang.exchange = "every_step";
  recheck_.insert(job->record.id);
  Event(
      job, "task_replanned", task,
      absl::StrCat("out of memory: again with micro-batches of ", micro_batch),
      changes);
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
    if (task.action_key.empty()) continue;
    Reconsider(task.action_key, changes);
    LiveAction* action = FindAction(task.action_key);
    if (action == nullptr || task.kind != TrainExpertsParameters::kKind ||
        action->record.state != ActionState::kSucceeded) {
      continue;
    }
    action->record.use_time = clock_->Now();
    changes->actions.insert(task.action_key);
  }
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

}  // namespace dasm
