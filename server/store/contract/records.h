// Records with the few fields that a test of a JobStore needs, and lists of
// records as what names them.
#ifndef DASM_SERVER_STORE_CONTRACT_RECORDS_H_
#define DASM_SERVER_STORE_CONTRACT_RECORDS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/store/job_store.h"

namespace dasm {

inline const absl::Time kStart =
    absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(123'456'789);

inline JobRecord Job(const std::string& id,
                     absl::Duration age = absl::ZeroDuration(),
                     JobState state = JobState::kQueued) {
  JobRecord job;
  job.id = id;
  job.project = "default";
  job.request_id = "request-" + id;
  job.state = state;
  job.create_time = kStart - age;
  job.update_time = job.create_time;
  return job;
}

inline TaskRecord Task(const std::string& job, const std::string& id,
                       TaskState state = TaskState::kWaiting) {
  TaskRecord task;
  task.job = job;
  task.id = id;
  task.kind = "evaluate";
  task.state = state;
  return task;
}

inline ActionRecord Action(const std::string& key, uint64_t fence = 0,
                           ActionState state = ActionState::kPending) {
  ActionRecord action;
  action.key = key;
  action.kind = "evaluate";
  action.fence = fence;
  action.state = state;
  action.create_time = kStart;
  return action;
}

inline EventRecord Event(const std::string& job, const std::string& message) {
  return {.job = job, .time = kStart, .type = "NOTE", .message = message};
}

inline Transaction Insert(JobRecord job) {
  Transaction transaction;
  transaction.insert_job = std::move(job);
  return transaction;
}

inline std::vector<std::string> Ids(const std::vector<JobRecord>& jobs) {
  std::vector<std::string> ids;
  for (const JobRecord& job : jobs) ids.push_back(job.id);
  return ids;
}

inline std::vector<std::string> Messages(
    const std::vector<EventRecord>& events) {
  std::vector<std::string> messages;
  for (const EventRecord& event : events) messages.push_back(event.message);
  return messages;
}

}  // namespace dasm

#endif  // DASM_SERVER_STORE_CONTRACT_RECORDS_H_
