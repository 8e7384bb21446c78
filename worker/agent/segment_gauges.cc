#include "worker/agent/segment_gauges.h"

namespace dasm {

SegmentGauges::SegmentGauges(Metrics* metrics)
    : matching_loss_(&metrics->Gauges(kDistillMatchingLoss)),
      gradient_norm_(&metrics->Gauges(kDistillGradientNorm)),
      step_seconds_(&metrics->Gauges(kDistillStepSeconds)) {}

void SegmentGauges::Set(Family* family, const Segment& segment, double value) {
  prometheus::Gauge*& gauge = gauges_[{family, segment.task}];
  if (gauge == nullptr) {
    gauge =
        &family->Add({{"task", segment.task}, {"segment", segment.segment}});
  }
  gauge->Set(value);
}

void SegmentGauges::SetProgress(const Segment& segment, double matching_loss,
                                double steps_per_second) {
  absl::MutexLock lock(&mutex_);
  Set(matching_loss_, segment, matching_loss);
  if (steps_per_second > 0) Set(step_seconds_, segment, 1 / steps_per_second);
}

void SegmentGauges::SetGradientNorm(const Segment& segment, double norm) {
  absl::MutexLock lock(&mutex_);
  Set(gradient_norm_, segment, norm);
}

void SegmentGauges::Remove(const Segment& segment) {
  absl::MutexLock lock(&mutex_);
  for (Family* family : {matching_loss_, gradient_norm_, step_seconds_}) {
    const auto found = gauges_.find({family, segment.task});
    if (found == gauges_.end()) continue;
    family->Remove(found->second);
    gauges_.erase(found);
  }
}

}  // namespace dasm
