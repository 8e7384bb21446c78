// Decides which pending actions start on which workers: a pure function of a
// snapshot, with a reason for every action that has to wait.
//
// Order: priority (higher first), then age, then the longest chain of tasks
// behind it. A gang gets all of its slots or
// none. The first action of a numerics class that fits into the class's slots
// but not into the free ones closes the class for this cycle: smaller ones
// behind it do not take the slots it waits for, so that it is never starved.
// A gang that lost a rank waits for its old size until `regroup_until`, then
// takes the slots that are free if they are at least `min_ranks`; meanwhile its
// slots are kept as those of a gang that waits. A new gang waits for slots that
// are busy, but for slots that no worker has only until `small_pool_until`.
#ifndef DASM_SERVER_SCHEDULER_SCHEDULER_H_
#define DASM_SERVER_SCHEDULER_SCHEDULER_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace dasm {

struct SchedulerWorker {
  std::string id;
  std::string numerics_class;
  int slots = 0;
  int busy = 0;
  // Digests that it read or wrote lately; borrowed, may be null.
  const std::set<std::string>* blobs = nullptr;
};

struct SchedulerInput {
  std::string digest;
  int64_t size_bytes = 0;
};

struct SchedulerRequest {
  std::string key;    // of the action
  int ranks = 1;      // slots that it wants at once
  int min_ranks = 1;  // that it goes on with from regroup_until on; <= ranks
  // InfiniteFuture: it has not run yet, and starts with all of its ranks.
  absl::Time regroup_until = absl::InfiniteFuture();
  // Of one that has not run yet: how long it waits for slots that no worker of
  // its pool has, busy or free; then it too starts with min_ranks or more.
  absl::Time small_pool_until = absl::InfiniteFuture();
  int priority = 0;
  // Among equal priorities the smallest goes first.
  int64_t order = 0;
  // Tasks that can only start one after the other once this is done; among
  // equal orders the longest goes first, then by key.
  int chain = 0;
  std::string numerics_class;  // empty: not resolved, no worker was there
  absl::Time not_before = absl::InfinitePast();  // back-off
  std::string last_failure;  // "STORAGE: why", for the reason of a back-off
  // Not used while workers besides it could hold the request.
  std::string avoid_worker;
  bool inputs_ready = true;
  // The worker that holds most bytes of these is preferred.
  std::vector<SchedulerInput> inputs;
};

struct SchedulerSnapshot {
  absl::Time now;
  bool store_nearly_full = false;
  // Those that may take work: heard of, not draining.
  std::vector<SchedulerWorker> workers;
  std::vector<SchedulerRequest> requests;
};

struct Placement {
  std::string key;
  // By rank, at most the request's; a worker may hold several.
  std::vector<std::string> workers;
};

struct Schedule {
  std::vector<Placement> placements;
  // For every request that was not placed, in words. When several hold, the
  // first of: no worker is connected · no worker of numerics class X · needs N
  // slots, M free of K · waits for N slots until T, then goes on with at least
  // L; M free of K · back-off until T · waiting for inputs · store is nearly
  // full.
  std::map<std::string, std::string> reasons;
};

Schedule MakeSchedule(const SchedulerSnapshot& snapshot);

// The kind of a reason above, for metrics: "no_worker", "no_class", "slots",
// "back_off", "inputs" or "store_full".
std::string_view PendingLabel(std::string_view reason);

}  // namespace dasm

#endif  // DASM_SERVER_SCHEDULER_SCHEDULER_H_
