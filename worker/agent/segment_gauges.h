// Live gauges of the segments that are distilled on this worker now. The one
// exception to "no task in a label": bounded by the slots, and removed when the
// attempt ends.
#ifndef DASM_WORKER_AGENT_SEGMENT_GAUGES_H_
#define DASM_WORKER_AGENT_SEGMENT_GAUGES_H_

#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/metrics/metrics.h"

namespace dasm {

// Thread-safe.
class SegmentGauges {
 public:
  explicit SegmentGauges(Metrics* metrics);

  struct Segment {
    std::string task;
    std::string segment;  // 0-based
  };
  // `steps_per_second` 0: not known yet.
  void SetProgress(const Segment& segment, double matching_loss,
                   double steps_per_second);
  void SetGradientNorm(const Segment& segment, double norm);
  void Remove(const Segment& segment);

 private:
  using Family = prometheus::Family<prometheus::Gauge>;
  void Set(Family* family, const Segment& segment, double value)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Family* const matching_loss_;
  Family* const gradient_norm_;
  Family* const step_seconds_;
  absl::Mutex mutex_;
  // By family and task.
  std::map<std::pair<Family*, std::string>, prometheus::Gauge*> gauges_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_SEGMENT_GAUGES_H_
