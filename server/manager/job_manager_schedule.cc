// The part of JobManager that places pending actions on workers.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/manager/job_manager.h"
#include "server/scheduler/scheduler.h"

namespace dasm {

int JobManager::BusySlots(const LiveWorker& worker) {
  const std::string& id = worker.report.worker;
  int busy = 0;
  std::set<AttemptName> counted;
  for (const std::string& key : table_.RunningOn(id)) {
    const LiveAction* action = table_.FindAction(key);
    const std::vector<std::string>& workers = action->record.workers;
    for (size_t rank = 0; rank < workers.size(); ++rank) {
      if (workers[rank] != id) continue;
      counted.insert({key, action->record.fence, static_cast<int>(rank)});
      ++busy;
    }
  }
  // Older attempts that the worker has yet to end hold their slots.
  for (const AttemptName& attempt : worker.report.running) {
    if (!counted.contains(attempt)) ++busy;
  }
  return busy;
}

bool JobManager::IsEnding(const std::string& key) {
  for (const auto& [id, worker] : workers_.all()) {
    if (workers_.StateOf(id) != WorkerState::kReady) continue;
    for (const AttemptName& attempt : worker.report.running) {
      if (attempt.key == key) return true;
    }
  }
  return false;
}

void JobManager::Schedule() {
  absl::MutexLock lock(&mutex_);
  if (!CheckReady().ok() || table_.pending().empty()) return;
  const absl::Duration start = parts_.clock->Steady();
  SchedulerSnapshot snapshot;
  snapshot.now = parts_.clock->Now();
  snapshot.store_nearly_full = nearly_full_;
  for (const auto& [id, worker] : workers_.all()) {
    if (workers_.StateOf(id) != WorkerState::kReady) continue;
    snapshot.workers.push_back({.id = id,
                                .numerics_class = worker.report.numerics_class,
                                .slots = worker.report.slots,
                                .busy = BusySlots(worker),
                                .blobs = &worker.blobs});
  }
  std::set<std::string> being_made;
  for (const std::string& key : table_.repairs()) {
    for (const auto& [name, output] : table_.FindAction(key)->record.outputs) {
      being_made.insert(output.blob.digest);
    }
  }
  for (const std::string& key : table_.pending()) {
    const LiveAction* action = table_.FindAction(key);
    if (!table_.IsWanted(*action)) continue;
    const ActionRecord& record = action->record;
    SchedulerRequest request;
    request.key = key;
    request.ranks = record.ranks;
    // With reduction fast the size is part of the key.
    request.min_ranks = record.gang.reduction == "fast"
                            ? record.ranks
                            : std::min(record.gang.min_ranks, record.ranks);
    if (record.regroup_until != absl::InfinitePast()) {
      // It does not shrink by the slots that its last attempt is just leaving.
      request.regroup_until =
          IsEnding(key)
              ? std::max(record.regroup_until, snapshot.now + absl::Seconds(1))
              : record.regroup_until;
    } else {
      request.small_pool_until =
          action->pending_since + absl::Seconds(record.gang.regroup_wait);
    }
    request.priority = table_.PriorityOf(*action);
    request.order = absl::ToUnixMicros(table_.OldestClaim(*action));
    request.chain = table_.ChainOf(*action);
    request.numerics_class = record.numerics_class;
    request.not_before = record.not_before;
    if (!record.failure.failure_class.empty()) {
      request.last_failure = absl::StrCat(record.failure.failure_class, ": ",
                                          record.failure.message);
    }
    request.avoid_worker = record.avoid_worker;
    for (const auto& [name, blob] : record.inputs) {
      request.inputs.push_back({blob.digest, blob.size_bytes});
      if (being_made.contains(blob.digest)) request.inputs_ready = false;
    }
    snapshot.requests.push_back(std::move(request));
  }
  const dasm::Schedule schedule = MakeSchedule(snapshot);
  std::map<std::string, int> by_reason;
  for (const auto& [key, reason] : schedule.reasons) {
    table_.FindAction(key)->pending_reason = reason;
    ++by_reason[std::string(PendingLabel(reason))];
  }
  if (!queue_.empty()) by_reason["queued"] = static_cast<int>(queue_.size());
  metrics_.SetPending(by_reason);
  Changes changes;
  for (const Placement& placement : schedule.placements) {
    LiveAction* action = table_.FindAction(placement.key);
    if (action->record.attempts == 0) {
      metrics_.QueueWait(parts_.clock->Now() - action->pending_since);
    }
    for (const auto& [name, blob] : action->record.inputs) {
      for (const std::string& worker : placement.workers) {
        workers_.FindOrAdd(worker)->Remember(blob.digest);
      }
    }
    table_.Place(action, placement.workers, &changes);
  }
  if (!changes.empty()) Enqueue(std::move(changes), nullptr);
  metrics_.SchedulingTook(parts_.clock->Steady() - start);
}

}  // namespace dasm
