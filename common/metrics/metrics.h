// The process's Prometheus registry and its text form.
#ifndef DASM_COMMON_METRICS_METRICS_H_
#define DASM_COMMON_METRICS_METRICS_H_

#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "common/metrics/metric_names.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace dasm {

// With dasm_build_info and the process_* gauges. Thread-safe; what it returns
// lives as long as it does.
class Metrics {
 public:
  Metrics();

  // The family of a name, made on first use: `Add(labels)` gives one series.
  prometheus::Family<prometheus::Counter>& Counters(const MetricName& name);
  prometheus::Family<prometheus::Gauge>& Gauges(const MetricName& name);
  prometheus::Family<prometheus::Histogram>& Histograms(const MetricName& name);

  prometheus::Registry& registry() { return *registry_; }
  // The exposition format, version 0.0.4; process_* are taken now.
  std::string Text();

 private:
  void UpdateProcess() ABSL_LOCKS_EXCLUDED(mutex_);

  std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Gauge& resident_bytes_;
  prometheus::Counter& cpu_seconds_;
  prometheus::Gauge& open_fds_;
  absl::Mutex mutex_;
  double cpu_seconds_told_ ABSL_GUARDED_BY(mutex_) = 0;
};

// From 0.5 ms to a minute, for commits, RPCs and scheduling.
prometheus::Histogram::BucketBoundaries SecondsBuckets();
// From a tenth of a second to a day, for queues.
prometheus::Histogram::BucketBoundaries WaitBuckets();

}  // namespace dasm

#endif  // DASM_COMMON_METRICS_METRICS_H_
