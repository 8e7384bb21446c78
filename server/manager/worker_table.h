// The workers that the coordinator has heard of: what they said last, the
// generation of what they should do, and the Synchronize calls it holds.
//
// Threads: not thread-safe; the job manager's lock guards it.
#ifndef DASM_SERVER_MANAGER_WORKER_TABLE_H_
#define DASM_SERVER_MANAGER_WORKER_TABLE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "server/job/records.h"
#include "server/scheduler/lease_table.h"

namespace dasm {

struct AttemptName {
  std::string key;  // of the action
  uint64_t fence = 0;
  int rank = 0;
  friend auto operator<=>(const AttemptName&, const AttemptName&) = default;
};

// What a worker says with each call.
struct WorkerReport {
  std::string worker;
  std::string incarnation;
  std::string version;
  int slots = 0;
  int threads = 0;
  std::string numerics_class;
  int64_t memory_bytes = 0;
  int64_t cache_bytes = 0;
  bool draining = false;
  std::vector<AttemptName> running;
  uint64_t applied_generation = 0;
};

// What should run on a worker.
struct WorkOrder {
  ActionRecord action;
  int rank = 0;
};
struct Orders {
  std::vector<WorkOrder> assignments;
  std::vector<AttemptName> release;
  uint64_t generation = 0;
  bool draining = false;
  absl::Duration lease;
  absl::Duration call_again;
};

enum class WorkerState { kReady, kDraining, kUnknown };

struct WorkerView {
  std::string id;
  WorkerState state = WorkerState::kUnknown;
  WorkerReport report;
  int busy_slots = 0;
  absl::Time last_seen;
  std::vector<std::string> tasks;  // keys of the actions that run there
};

using SynchronizeDone = absl::AnyInvocable<void(absl::StatusOr<Orders>)>;

struct LiveWorker {
  WorkerReport report;
  bool known = false;  // has reported since the start
  absl::Time last_seen = absl::InfinitePast();
  uint64_t generation = 0;
  uint64_t sent_generation = 0;  // of the last answer
  // The call that is held, and until when (steady clock).
  std::optional<SynchronizeDone> held;
  absl::Duration held_until;
  // Digests that it read or wrote lately; newest last.
  std::set<std::string> blobs;
  std::deque<std::string> blob_order;

  void Remember(const std::string& digest);
};

class WorkerTable {
 public:
  // `first_generation` is above every generation of an earlier coordinator, so
  // that a worker's first call is answered at once.
  WorkerTable(const Clock* clock, absl::Duration lease,
              uint64_t first_generation)
      : leases_(clock, lease), first_generation_(first_generation) {}

  LiveWorker* Find(const std::string& id);
  LiveWorker* FindOrAdd(const std::string& id);
  const std::map<std::string, LiveWorker>& all() const { return workers_; }
  std::map<std::string, LiveWorker>& all() { return workers_; }
  LeaseTable& leases() { return leases_; }
  const LeaseTable& leases() const { return leases_; }
  // The operators' wishes.
  std::set<std::string>& drained() { return drained_; }
  WorkerState StateOf(const std::string& id) const;
  void Remove(const std::string& id);

 private:
  LeaseTable leases_;
  const uint64_t first_generation_;
  std::map<std::string, LiveWorker> workers_;
  std::set<std::string> drained_;
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_WORKER_TABLE_H_
