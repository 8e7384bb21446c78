// The coordinator's metrics of jobs, tasks and workers, by the names of
// common/metrics/metric_names.h. Thread-safe.
#ifndef DASM_SERVER_MANAGER_MANAGER_METRICS_H_
#define DASM_SERVER_MANAGER_MANAGER_METRICS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/metrics/metrics.h"
#include "server/manager/live_table.h"

namespace dasm {

class ManagerMetrics {
 public:
  explicit ManagerMetrics(Metrics* metrics);

  // What a durable transaction did.
  void Count(const Changes& changes);
  void CacheRequest(CacheAnswer answer);
  void CommitTook(absl::Duration time) {
    commit_->Observe(absl::ToDoubleSeconds(time));
  }
  void SchedulingTook(absl::Duration time) {
    cycle_->Observe(absl::ToDoubleSeconds(time));
  }
  void QueueWait(absl::Duration time) {
    queue_wait_->Observe(absl::ToDoubleSeconds(time));
  }
  void LeaseExpired() { lease_expirations_->Increment(); }
  void FenceRejected() { fence_rejections_->Increment(); }
  // Gauges; a state or reason that is not named becomes 0.
  void SetJobs(const std::map<JobState, int64_t>& jobs);
  void SetWorkers(const std::map<std::string, int>& by_state);
  void SetPending(const std::map<std::string, int>& by_reason);
  // There is no gauge before the first call: no alert on a 0 never measured.
  void SetFreeBytes(int64_t bytes);

 private:
  prometheus::Family<prometheus::Gauge>& jobs_;
  prometheus::Family<prometheus::Counter>& transitions_;
  prometheus::Family<prometheus::Gauge>& pending_;
  prometheus::Family<prometheus::Counter>& attempts_;
  prometheus::Family<prometheus::Counter>& slot_seconds_;
  prometheus::Family<prometheus::Counter>& retries_;
  prometheus::Family<prometheus::Counter>& cache_;
  prometheus::Family<prometheus::Gauge>& workers_;
  prometheus::Family<prometheus::Gauge>& free_bytes_;
  prometheus::Histogram* queue_wait_;
  prometheus::Histogram* commit_;
  prometheus::Histogram* cycle_;
  prometheus::Counter* lease_expirations_;
  prometheus::Counter* fence_rejections_;
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_MANAGER_METRICS_H_
