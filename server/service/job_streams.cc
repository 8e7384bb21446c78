#include "server/service/job_streams.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/job/state.h"
#include "server/manager/job_proto.h"

namespace dasm {
namespace {

constexpr int kEventsAtATime = 100;
constexpr int kLinesAtATime = 500;

}  // namespace

absl::StatusOr<WatchSource::Next> WatchSource::Fill(
    std::deque<v1::JobEvent>* out) {
  // The state is read before the events: a job that had ended has all of its
  // events in the store.
  DASM_ASSIGN_OR_RETURN(const JobRecord job,
                        store_->GetJob(name_.project, name_.job));
  DASM_ASSIGN_OR_RETURN(const std::vector<EventRecord> events,
                        store_->ListEvents(name_.job, after_, kEventsAtATime));
  for (const EventRecord& record : events) {
    v1::JobEvent event;
    if (!event.ParseFromString(record.body)) {
      return absl::InternalError("a stored event does not parse");
    }
    event.set_version(record.version);
    after_ = record.version;
    out->push_back(std::move(event));
  }
  if (static_cast<int>(events.size()) == kEventsAtATime) return Next::kMore;
  if (IsTerminal(job.state)) return Next::kEnd;
  for (const auto& [task, progress] : listener_->TakeProgress()) {
    v1::JobEvent event;
    event.set_version(after_);
    *event.mutable_time() = ToProto(progress.time);
    event.set_type("task_progress");
    event.set_task(task);
    v1::Task* state = event.mutable_task_state();
    state->set_name(absl::StrCat(name_.ToString(), "/tasks/", task));
    state->set_state(v1::Task::STATE_RUNNING);
    *state->mutable_progress() = ToProto(progress);
    out->push_back(std::move(event));
  }
  return Next::kWait;
}

absl::StatusOr<LogSource::Next> LogSource::Fill(std::deque<v1::LogLine>* out) {
  DASM_ASSIGN_OR_RETURN(const JobRecord job,
                        store_->GetJob(name_.project, name_.job));
  DASM_ASSIGN_OR_RETURN(const std::vector<TaskRecord> tasks,
                        store_->GetTasks(name_.job));
  std::map<std::string, std::string> task_of;  // by action key
  for (const TaskRecord& task : tasks) {
    if (task.action_key.empty()) continue;
    if (task_.empty() || task.id == task_) {
      task_of.emplace(task.action_key, task.id);
    }
  }
  std::vector<std::string> keys;
  for (const auto& [key, task] : task_of) keys.push_back(key);
  std::vector<LogLineRecord> lines;
  if (!keys.empty()) {
    DASM_ASSIGN_OR_RETURN(lines,
                          telemetry_->ListLines(keys, after_, kLinesAtATime));
  }
  for (const LogLineRecord& record : lines) {
    v1::LogLine line;
    line.set_sequence(record.id);
    *line.mutable_time() = ToProto(record.time);
    line.set_task(task_of.at(record.action_key));
    line.set_attempt(static_cast<int32_t>(record.fence));
    line.set_rank(record.rank);
    line.set_severity(record.severity);
    line.set_text(record.text);
    after_ = record.id;
    out->push_back(std::move(line));
  }
  if (static_cast<int>(lines.size()) == kLinesAtATime) return Next::kMore;
  if (!follow_ || IsTerminal(job.state)) return Next::kEnd;
  listener_->TakeProgress();
  return Next::kWait;
}

}  // namespace dasm
