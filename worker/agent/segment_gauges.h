// Live gauges of the segments that are distilled and the experts that are
// trained on this worker now. The one exception to "no task in a label":
// bounded by the slots, and removed when the attempt ends.
#ifndef DASM_WORKER_AGENT_SEGMENT_GAUGES_H_
#define DASM_WORKER_AGENT_SEGMENT_GAUGES_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/metrics/metrics.h"

namespace dasm {

// Thread-safe.
class SegmentGauges {
 public:
  explicit SegmentGauges(Metrics* metrics);

  // What a task works on.
  struct Subject {
    std::string task;
    bool experts = false;
    // Of a segment its number, "0" for the first; of experts the first and the
    // last of the group, "0-4".
    std::string numbers;
  };
  // Empty for a kind of task that has no gauges. `parameters_json` is the
  // canonical one of the kind.
  static std::optional<Subject> SubjectOf(std::string_view task,
                                          std::string_view kind,
                                          std::string_view parameters_json);

  // matching_loss, gradient_norm and step_size of segments, training_loss of
  // experts; other series have no gauge.
  void SetSeries(const Subject& subject, std::string_view series, double value);
  // Of segments. 0: not known yet.
  void SetStepsPerSecond(const Subject& subject, double steps_per_second);
  void Remove(const Subject& subject);

 private:
  using Family = prometheus::Family<prometheus::Gauge>;
  void Set(Family* family, const Subject& subject, double value);

  Family* const matching_loss_;
  Family* const gradient_norm_;
  Family* const step_size_;
  Family* const step_seconds_;
  Family* const training_loss_;
  absl::Mutex mutex_;
  // By task and family.
  std::map<std::pair<std::string, Family*>, prometheus::Gauge*> gauges_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_SEGMENT_GAUGES_H_
