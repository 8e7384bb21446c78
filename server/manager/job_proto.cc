#include "server/manager/job_proto.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/ids.h"
#include "google/protobuf/util/time_util.h"

namespace dasm {
namespace {

void SetTime(absl::Time time, google::protobuf::Timestamp* proto) {
  *proto = ToProto(time);
}

}  // namespace

v1::Job::State ToProto(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return v1::Job::STATE_QUEUED;
    case JobState::kRunning:
      return v1::Job::STATE_RUNNING;
    case JobState::kSucceeded:
      return v1::Job::STATE_SUCCEEDED;
    case JobState::kFailed:
      return v1::Job::STATE_FAILED;
    case JobState::kCancelled:
      return v1::Job::STATE_CANCELLED;
  }
  return v1::Job::STATE_UNSPECIFIED;
}

v1::Task::State ToProto(TaskState state) {
  switch (state) {
    case TaskState::kWaiting:
      return v1::Task::STATE_WAITING;
    case TaskState::kPending:
      return v1::Task::STATE_PENDING;
    case TaskState::kRunning:
      return v1::Task::STATE_RUNNING;
    case TaskState::kSucceeded:
      return v1::Task::STATE_SUCCEEDED;
    case TaskState::kFailed:
      return v1::Task::STATE_FAILED;
    case TaskState::kCancelled:
      return v1::Task::STATE_CANCELLED;
  }
  return v1::Task::STATE_UNSPECIFIED;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  return google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(
      absl::ToUnixMicros(time));
}

v1::Failure ToProto(const FailureRecord& failure) {
  v1::Failure proto;
  proto.set_failure_class(failure.failure_class);
  proto.set_message(failure.message);
  proto.set_task(failure.task);
  return proto;
}

v1::Progress ToProto(const TaskProgress& progress) {
  v1::Progress proto;
  proto.set_step(progress.step);
  proto.set_total_steps(progress.total_steps);
  proto.set_steps_per_second(progress.steps_per_second);
  proto.set_value(progress.value);
  proto.set_series(progress.series);
  return proto;
}

v1::Job ToProto(const JobRecord& job, bool with_specs) {
  v1::Job proto;
  proto.set_name(JobName{job.project, job.id}.ToString());
  proto.set_uid(job.uid);
  proto.set_state(ToProto(job.state));
  if (with_specs) {
    // Written by this service; what does not parse is left out rather than
    // keeping the job from being seen.
    if (!proto.mutable_spec()->ParseFromString(job.spec)) proto.clear_spec();
    if (!proto.mutable_expanded_spec()->ParseFromString(job.expanded_spec)) {
      proto.clear_expanded_spec();
    }
  }
  SetTime(job.create_time, proto.mutable_create_time());
  SetTime(job.update_time, proto.mutable_update_time());
  if (job.start_time != absl::InfinitePast()) {
    SetTime(job.start_time, proto.mutable_start_time());
  }
  if (job.end_time != absl::InfinitePast()) {
    SetTime(job.end_time, proto.mutable_end_time());
  }
  if (!job.failure.failure_class.empty()) {
    *proto.mutable_failure() = ToProto(job.failure);
  }
  proto.set_numerics_class(job.numerics_class);
  proto.set_method(job.method);
  proto.set_tasks_total(job.tasks_total);
  proto.set_tasks_done(job.tasks_done);
  proto.set_etag(absl::StrCat(absl::Hex(absl::ToUnixMicros(job.update_time))));
  return proto;
}

v1::Task ToProto(const JobRecord& job, const TaskView& view) {
  const TaskRecord& task = view.task;
  const ActionRecord& action = view.action;
  v1::Task proto;
  proto.set_name(absl::StrCat(JobName{job.project, job.id}.ToString(),
                              "/tasks/", task.id));
  proto.set_kind(task.kind);
  proto.set_state(ToProto(task.state));
  proto.set_pending_reason(view.pending_reason);
  proto.set_action_key(task.action_key);
  proto.set_cached(task.cached);
  if (task.start_time != absl::InfinitePast()) {
    SetTime(task.start_time, proto.mutable_start_time());
  }
  if (task.end_time != absl::InfinitePast()) {
    SetTime(task.end_time, proto.mutable_end_time());
  }
  if (!task.failure.failure_class.empty()) {
    *proto.mutable_failure() = ToProto(task.failure);
  }
  std::set<std::string> parents;
  for (const auto& [name, input] : task.inputs) {
    if (!input.task.empty()) parents.insert(input.task);
  }
  for (const std::string& parent : parents) proto.add_parents(parent);
  if (view.progress.time != absl::InfinitePast()) {
    *proto.mutable_progress() = ToProto(view.progress);
  }
  proto.set_attempts(action.attempts);
  if (task.state == TaskState::kRunning) {
    proto.set_worker(action.worker);
    for (size_t rank = 0; task.ranks > 1 && rank < action.workers.size();
         ++rank) {
      v1::GangRank* member = proto.add_gang();
      member->set_rank(static_cast<int>(rank));
      member->set_worker(action.workers[rank]);
      if (rank < view.endpoints.size()) {
        member->set_endpoint(view.endpoints[rank]);
      }
    }
  }
  proto.set_replanned_micro_batch(task.replanned_micro_batch);
  proto.set_predicted_memory_bytes(task.memory.total_bytes);
  for (size_t rank = 0; rank < action.peaks.size(); ++rank) {
    const PeakMemoryRecord& peak = action.peaks[rank];
    v1::RankMemory* memory = proto.add_memory();
    memory->set_rank(static_cast<int>(rank));
    memory->set_host_bytes(peak.host_bytes);
    memory->set_device_bytes(peak.device_bytes);
    memory->set_device_reserved_bytes(peak.device_reserved_bytes);
  }
  if (!action.checkpoints.empty()) {
    SetTime(action.checkpoints.front().time,
            proto.mutable_last_checkpoint_time());
  }
  if (task.state == TaskState::kSucceeded) {
    for (const auto& [name, output] : action.outputs) {
      v1::OutputBlob* blob = proto.add_outputs();
      blob->set_output(name);
      blob->set_digest(output.blob.digest);
      blob->set_size_bytes(output.blob.size_bytes);
    }
  }
  return proto;
}

v1::Job ToProto(const JobView& view) {
  v1::Job proto = ToProto(view.job);
  for (const TaskView& task : view.tasks) {
    *proto.add_tasks() = ToProto(view.job, task);
  }
  return proto;
}

}  // namespace dasm
