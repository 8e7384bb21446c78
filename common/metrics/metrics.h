// The process's Prometheus registry and its text form.
#ifndef DASM_COMMON_METRICS_METRICS_H_
#define DASM_COMMON_METRICS_METRICS_H_

#include <memory>
#include <string>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace dasm {

// With dasm_build_info and the process_* gauges.
class Metrics {
 public:
  Metrics();
  prometheus::Registry& registry() { return *registry_; }
  // The exposition format, version 0.0.4.
  std::string Text();

 private:
  std::shared_ptr<prometheus::Registry> registry_;
};

}  // namespace dasm

#endif  // DASM_COMMON_METRICS_METRICS_H_
