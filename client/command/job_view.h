// Jobs and tasks as people read them.
#ifndef DASM_CLIENT_COMMAND_JOB_VIEW_H_
#define DASM_CLIENT_COMMAND_JOB_VIEW_H_

#include <string>

#include "absl/time/time.h"
#include "client/command/context.h"
#include "dasm/v1/job.pb.h"
#include "google/protobuf/timestamp.pb.h"

namespace dasm {

absl::Time ToTime(const google::protobuf::Timestamp& time);
// "RUNNING"
std::string StateName(v1::Job::State state);
std::string StateName(v1::Task::State state);
// "jobs/j123" of "projects/default/jobs/j123"; others stay whole.
std::string ShortName(const std::string& name);
// The last part of a resource name.
std::string LastPart(const std::string& name);
absl::Duration Elapsed(const v1::Job& job, absl::Time now);
// Prints one job in the chosen format (`describe`'s text for a table).
absl::Status PrintJob(Context* context, const v1::Job& job);
// A few lines about the job, its tasks and what they wait for; many like tasks
// are one line (task_groups.h). Tables are at most `columns` wide (0: as wide
// as they get).
std::string DescribeJob(const v1::Job& job, absl::Time now, int columns = 0);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_JOB_VIEW_H_
