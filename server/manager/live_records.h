// What the coordinator keeps in memory of a job, an action and a change.
#ifndef DASM_SERVER_MANAGER_LIVE_RECORDS_H_
#define DASM_SERVER_MANAGER_LIVE_RECORDS_H_

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/job/records.h"
#include "server/manager/event_hub.h"
#include "server/store/job_store.h"

namespace dasm {

struct TaskKey {
  std::string job;
  std::string task;
  friend auto operator<=>(const TaskKey&, const TaskKey&) = default;
};

struct LiveJob {
  JobRecord record;
  std::map<std::string, TaskRecord> tasks;  // by id
  // By task id: the length of the longest chain of tasks that wait for it.
  std::map<std::string, int> chains;
};

struct LiveAction {
  ActionRecord record;
  // The tasks of live jobs that are bound to it, whatever their state.
  std::set<TaskKey> users;
  // A blob of its result was lost: it runs again though no task waits for it.
  bool repair = false;
  // Transactions that name it and are not durable yet.
  int uncommitted = 0;
  // The fence of the running attempt is durable: workers may be told.
  bool handed_out = false;
  absl::Time placed = absl::InfinitePast();  // the running attempt
  TaskProgress progress;                     // of the running attempt
  std::string pending_reason;
  absl::Time pending_since = absl::InfinitePast();
};

struct Changes {
  std::set<std::string> jobs;
  std::set<TaskKey> tasks;
  std::set<std::string> actions;
  std::vector<EventRecord> events;
  std::optional<Transaction::RequireFence> require_fence;
  // Workers that should do something else once this is durable.
  std::set<std::string> workers;
  // Actions, with their fences, that are handed out once this is durable.
  std::map<std::string, uint64_t> placed;
  // For metrics.
  std::vector<JobState> entered;
  std::vector<std::pair<std::string, std::string>> ended;  // kind, result
  std::vector<std::string> retried;                        // cause
  // By kind: slots held times seconds, of the attempts that ended.
  std::map<std::string, double> slot_seconds;

  bool empty() const {
    return jobs.empty() && tasks.empty() && actions.empty() && events.empty();
  }
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_LIVE_RECORDS_H_
