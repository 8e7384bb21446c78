// Records -> the messages that clients see.
#ifndef DASM_SERVER_MANAGER_JOB_PROTO_H_
#define DASM_SERVER_MANAGER_JOB_PROTO_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "dasm/v1/job.pb.h"
#include "server/job/records.h"
#include "server/manager/event_hub.h"

namespace dasm {

// A task with what is known about its execution.
struct TaskView {
  TaskRecord task;
  ActionRecord action;  // empty key: none yet
  std::string pending_reason;
  TaskProgress progress;
  // Of the running attempt of a gang, by rank; "" for one that has not joined.
  std::vector<std::string> endpoints;
};

struct JobView {
  JobRecord job;
  std::vector<TaskView> tasks;  // in order of id
};

v1::Job::State ToProto(JobState state);
v1::Task::State ToProto(TaskState state);
google::protobuf::Timestamp ToProto(absl::Time time);
v1::Failure ToProto(const FailureRecord& failure);
v1::Progress ToProto(const TaskProgress& progress);
// Without tasks. `with_specs` false: without its two specs (events).
v1::Job ToProto(const JobRecord& job, bool with_specs = true);
v1::Task ToProto(const JobRecord& job, const TaskView& view);
v1::Job ToProto(const JobView& view);

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_JOB_PROTO_H_
