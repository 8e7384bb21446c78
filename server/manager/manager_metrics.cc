#include "server/manager/manager_metrics.h"

#include <algorithm>

#include "common/metrics/metric_names.h"
#include "server/job/state.h"

namespace dasm {
namespace {

// The closed set of values of dasm_pending_tasks{reason}: PendingLabel.
constexpr const char* kReasons[] = {"no_worker", "no_class", "slots",
                                    "back_off",  "inputs",   "store_full",
                                    "queued"};
constexpr const char* kWorkerStates[] = {"READY", "DRAINING", "UNKNOWN"};
constexpr JobState kJobStates[] = {JobState::kQueued, JobState::kRunning,
                                   JobState::kSucceeded, JobState::kFailed,
                                   JobState::kCancelled};

std::string_view Label(CacheAnswer answer) {
  switch (answer) {
    case CacheAnswer::kMiss:
      return "miss";
    case CacheAnswer::kHit:
      return "hit";
    case CacheAnswer::kJoined:
      return "joined";
    case CacheAnswer::kIncomplete:
      return "incomplete";
  }
  return "";
}

}  // namespace

ManagerMetrics::ManagerMetrics(Metrics* metrics)
    : jobs_(metrics->Gauges(kJobs)),
      transitions_(metrics->Counters(kJobTransitions)),
      pending_(metrics->Gauges(kPendingTasks)),
      attempts_(metrics->Counters(kAttempts)),
      slot_seconds_(metrics->Counters(kSlotSeconds)),
      retries_(metrics->Counters(kRetries)),
      cache_(metrics->Counters(kActionCacheRequests)),
      workers_(metrics->Gauges(kWorkers)),
      free_bytes_(metrics->Gauges(kStoreFreeBytes)),
      queue_wait_(
          &metrics->Histograms(kQueueWaitSeconds).Add({}, WaitBuckets())),
      commit_(
          &metrics->Histograms(kStoreCommitSeconds).Add({}, SecondsBuckets())),
      cycle_(&metrics->Histograms(kSchedulerCycleSeconds)
                  .Add({}, SecondsBuckets())),
      lease_expirations_(&metrics->Counters(kLeaseExpirations).Add({})),
      fence_rejections_(&metrics->Counters(kFenceRejections).Add({})) {
  SetJobs({});
  SetWorkers({});
  SetPending({});
  for (CacheAnswer answer : {CacheAnswer::kMiss, CacheAnswer::kHit,
                             CacheAnswer::kJoined, CacheAnswer::kIncomplete}) {
    cache_.Add({{"result", std::string(Label(answer))}});
  }
}

void ManagerMetrics::Count(const Changes& changes) {
  for (JobState state : changes.entered) {
    transitions_.Add({{"to", std::string(Name(state))}}).Increment();
  }
  for (const auto& [kind, result] : changes.ended) {
    attempts_.Add({{"kind", kind}, {"result", result}}).Increment();
  }
  for (const auto& [kind, seconds] : changes.slot_seconds) {
    // A wall clock that was set back counts nothing.
    slot_seconds_.Add({{"kind", kind}}).Increment(std::max(0.0, seconds));
  }
  for (const std::string& cause : changes.retried) {
    retries_.Add({{"cause", cause}}).Increment();
  }
}

void ManagerMetrics::CacheRequest(CacheAnswer answer) {
  cache_.Add({{"result", std::string(Label(answer))}}).Increment();
}

void ManagerMetrics::SetJobs(const std::map<JobState, int64_t>& jobs) {
  for (JobState state : kJobStates) {
    const auto it = jobs.find(state);
    jobs_.Add({{"state", std::string(Name(state))}})
        .Set(it == jobs.end() ? 0 : static_cast<double>(it->second));
  }
}

void ManagerMetrics::SetWorkers(const std::map<std::string, int>& by_state) {
  for (const char* state : kWorkerStates) {
    const auto it = by_state.find(state);
    workers_.Add({{"state", state}}).Set(it == by_state.end() ? 0 : it->second);
  }
}

void ManagerMetrics::SetPending(const std::map<std::string, int>& by_reason) {
  for (const char* reason : kReasons) {
    const auto it = by_reason.find(reason);
    pending_.Add({{"reason", reason}})
        .Set(it == by_reason.end() ? 0 : it->second);
  }
}

void ManagerMetrics::SetFreeBytes(int64_t bytes) {
  free_bytes_.Add({}).Set(static_cast<double>(bytes));
}

}  // namespace dasm
