// The half of JobManager that talks with clients: submit, look, cancel.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "dasm/v1/job_service.pb.h"
#include "server/job/state.h"
#include "server/manager/commit_waiter.h"
#include "server/manager/job_manager.h"

namespace dasm {

absl::StatusOr<JobRecord> JobManager::CreateJob(const std::string& project,
                                                const v1::JobSpec& spec,
                                                const std::string& request_id,
                                                bool validate_only) {
  if (request_id.size() > 128) {
    return InvalidField("request_id", "must have at most 128 characters");
  }
  const std::string digest = SpecDigest(spec);
  const auto earlier =
      [&](absl::StatusOr<JobRecord> job) -> absl::StatusOr<JobRecord> {
    if (!job.ok() || job->spec_digest == digest) return job;
    return WithReason(
        absl::AlreadyExistsError(absl::StrCat(
            "request ", request_id, " made job ", job->id,
            " from another spec; use a new request_id for a new job")),
        "REQUEST_ID_REUSED", "request_id");
  };
  if (!request_id.empty()) {
    const auto known = parts_.store->GetJobByRequestId(project, request_id);
    if (!absl::IsNotFound(known.status())) return earlier(known);
  }
  DASM_RETURN_IF_ERROR(CheckFreeSpace());
  DASM_ASSIGN_OR_RETURN(const Submission submission,
                        PrepareSubmission(spec, *parts_.roots, parts_.blobs));
  DASM_RETURN_IF_ERROR(CheckPool(submission.expanded.spec));
  NewJob created =
      MakeJob(submission, spec, project, request_id, parts_.clock->Now());
  if (validate_only) {
    created.job.id.clear();
    created.job.uid.clear();
    return created.job;
  }
  // The first event of a job is made by hand: the job is not in memory yet.
  EventRecord event;
  event.job = created.job.id;
  event.time = created.job.create_time;
  event.type = "job_created";
  v1::JobEvent body;
  *body.mutable_time() = ToProto(event.time);
  body.set_type(event.type);
  *body.mutable_job() = ToProto(created.job, /*with_specs=*/false);
  event.body = body.SerializeAsString();
  Transaction transaction;
  transaction.insert_job = created.job;
  transaction.tasks = std::move(created.tasks);
  transaction.events.push_back(std::move(event));
  {
    absl::MutexLock lock(&mutex_);
    DASM_RETURN_IF_ERROR(CheckReady());
    ++in_flight_;
  }
  CommitWaiter waiter;
  const absl::Duration start = parts_.clock->Steady();
  parts_.store->Commit(std::move(transaction),
                       [&, callback = waiter.Callback()](
                           absl::StatusOr<CommitReceipt> receipt) mutable {
                         const absl::Status status = receipt.status();
                         {
                           absl::MutexLock lock(&mutex_);
                           if (status.ok())
                             queue_[KeyOf(created.job)] = {project};
                           metrics_.CommitTook(parts_.clock->Steady() - start);
                           --in_flight_;
                           kicked_ = true;
                         }
                         std::move(callback)(status);
                       });
  const absl::Status status = waiter.Wait();
  if (ReasonOf(status) == "REQUEST_ID_USED") {
    // The same request, tried twice at the same time.
    return earlier(parts_.store->GetJobByRequestId(project, request_id));
  }
  DASM_RETURN_IF_ERROR(status);
  return created.job;
}

absl::StatusOr<Submission> JobManager::Explain(const v1::JobSpec& spec) {
  DASM_ASSIGN_OR_RETURN(Submission submission,
                        PrepareSubmission(spec, *parts_.roots, parts_.blobs));
  // It explains what these workers could not run, too.
  const absl::Status pool = CheckPool(submission.expanded.spec);
  if (!pool.ok()) {
    submission.graph.warnings.push_back(
        absl::StrCat(FieldOf(pool), ": ", std::string(pool.message())));
  }
  return submission;
}

std::string JobManager::PendingReason(const JobRecord& job,
                                      const TaskRecord& task) {
  if (task.state == TaskState::kPending) {
    const LiveAction* action = table_.FindAction(task.action_key);
    if (action != nullptr && !action->pending_reason.empty()) {
      return action->pending_reason;
    }
  }
  if (task.state == TaskState::kWaiting) {
    for (const auto& [name, input] : task.inputs) {
      if (!input.task.empty()) return "waiting for inputs";
    }
  }
  // What could start, but was not looked at yet.
  if (BestClass().empty()) return "no worker is connected";
  const auto it = queue_.find(KeyOf(job));
  if (it == queue_.end()) return "about to be scheduled";
  const auto ahead = std::distance(queue_.begin(), it) +
                     static_cast<int64_t>(table_.jobs().size());
  return absl::StrCat(ahead, ahead == 1 ? " job is" : " jobs are",
                      " ahead in the queue");
}

absl::StatusOr<JobView> JobManager::GetJob(const JobName& name,
                                           bool with_tasks) {
  JobView view;
  DASM_ASSIGN_OR_RETURN(view.job, parts_.store->GetJob(name.project, name.job));
  if (!with_tasks) return view;
  DASM_ASSIGN_OR_RETURN(std::vector<TaskRecord> tasks,
                        parts_.store->GetTasks(name.job));
  std::sort(
      tasks.begin(), tasks.end(),
      [](const TaskRecord& a, const TaskRecord& b) { return a.id < b.id; });
  for (TaskRecord& task : tasks) {
    TaskView& entry = view.tasks.emplace_back();
    entry.task = std::move(task);
    const std::string& key = entry.task.action_key;
    bool live = false;
    {
      absl::MutexLock lock(&mutex_);
      if (entry.task.state == TaskState::kWaiting ||
          entry.task.state == TaskState::kPending) {
        entry.pending_reason = PendingReason(view.job, entry.task);
      }
      const LiveAction* action = table_.FindAction(key);
      if (action != nullptr) {
        live = true;
        entry.action = action->record;
        if (entry.task.state == TaskState::kRunning) {
          entry.progress = action->progress;
          entry.endpoints = gangs_.Endpoints(key, action->record.fence);
        }
      }
    }
    if (live || key.empty()) continue;
    absl::StatusOr<ActionRecord> action = parts_.store->GetAction(key);
    if (action.ok()) {
      entry.action = *std::move(action);
    } else if (!absl::IsNotFound(action.status())) {
      return action.status();
    }
  }
  return view;
}

absl::StatusOr<JobRecord> JobManager::CancelJob(const JobName& name,
                                                const std::string& message) {
  for (int attempt = 0;; ++attempt) {
    CommitWaiter waiter;
    bool found = false;
    {
      absl::MutexLock lock(&mutex_);
      DASM_RETURN_IF_ERROR(CheckReady());
      LiveJob* job = table_.FindJob(name.job);
      if (job != nullptr && job->record.project == name.project) {
        found = true;
        Changes changes;
        table_.Cancel(job, message, &changes);
        // Empty when it has ended already: then this waits for that to be
        // durable.
        Enqueue(std::move(changes), waiter.Callback());
        kicked_ = true;
      }
    }
    if (found) {
      DASM_RETURN_IF_ERROR(waiter.Wait());
      return parts_.store->GetJob(name.project, name.job);
    }
    DASM_ASSIGN_OR_RETURN(JobRecord job,
                          parts_.store->GetJob(name.project, name.job));
    if (IsTerminal(job.state)) return job;
    if (attempt == 3) {
      return absl::InternalError(
          absl::StrCat("job ", name.job, " is not in memory"));
    }
    {
      // It was committed an instant ago and is about to enter the queue.
      absl::MutexLock lock(&mutex_);
      const auto entered = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return queue_.contains(KeyOf(job)) ||
               table_.FindJob(job.id) != nullptr || broken_;
      };
      mutex_.AwaitWithTimeout(absl::Condition(&entered), absl::Seconds(2));
    }
    DASM_RETURN_IF_ERROR(
        BringIn(name.project, name.job, /*resolve_class=*/false));
  }
}

}  // namespace dasm
