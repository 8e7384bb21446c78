#include "worker/agent/segment_gauges.h"

#include "absl/strings/str_cat.h"
#include "common/spec/task_parameters.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

// 0 where `parameters` is no object or has no such number.
int64_t NumberOf(const nlohmann::json& parameters, const char* name) {
  if (!parameters.is_object()) return 0;
  const auto found = parameters.find(name);
  return found != parameters.end() && found->is_number_integer()
             ? found->get<int64_t>()
             : 0;
}

}  // namespace

SegmentGauges::SegmentGauges(Metrics* metrics)
    : matching_loss_(&metrics->Gauges(kDistillMatchingLoss)),
      gradient_norm_(&metrics->Gauges(kDistillGradientNorm)),
      step_size_(&metrics->Gauges(kDistillStepSize)),
      step_seconds_(&metrics->Gauges(kDistillStepSeconds)),
      training_loss_(&metrics->Gauges(kExpertTrainingLoss)) {}

std::optional<SegmentGauges::Subject> SegmentGauges::SubjectOf(
    std::string_view task, std::string_view kind,
    std::string_view parameters_json) {
  const auto parameters = nlohmann::json::parse(parameters_json, nullptr,
                                                /*allow_exceptions=*/false);
  Subject subject;
  subject.task = std::string(task);
  if (kind == DistillSegmentParameters::kKind ||
      kind == MatchTrajectoriesParameters::kKind) {
    subject.numbers = absl::StrCat(NumberOf(parameters, "segment"));
    return subject;
  }
  if (kind != TrainExpertsParameters::kKind) return std::nullopt;
  const int64_t first = NumberOf(parameters, "first");
  subject.experts = true;
  subject.numbers =
      absl::StrCat(first, "-", first + NumberOf(parameters, "count") - 1);
  return subject;
}

void SegmentGauges::Set(Family* family, const Subject& subject, double value) {
  absl::MutexLock lock(&mutex_);
  prometheus::Gauge*& gauge = gauges_[{subject.task, family}];
  if (gauge == nullptr) {
    gauge = &family->Add(
        {{"task", subject.task},
         {subject.experts ? "experts" : "segment", subject.numbers}});
  }
  gauge->Set(value);
}

void SegmentGauges::SetSeries(const Subject& subject, std::string_view series,
                              double value) {
  if (subject.experts) {
    if (series == "training_loss") Set(training_loss_, subject, value);
  } else if (series == "matching_loss") {
    Set(matching_loss_, subject, value);
  } else if (series == "gradient_norm") {
    Set(gradient_norm_, subject, value);
  } else if (series == "step_size") {
    Set(step_size_, subject, value);
  }
}

void SegmentGauges::SetStepsPerSecond(const Subject& subject,
                                      double steps_per_second) {
  if (subject.experts || !(steps_per_second > 0)) return;
  Set(step_seconds_, subject, 1 / steps_per_second);
}

void SegmentGauges::Remove(const Subject& subject) {
  absl::MutexLock lock(&mutex_);
  for (auto it = gauges_.lower_bound({subject.task, nullptr});
       it != gauges_.end() && it->first.first == subject.task;
       it = gauges_.erase(it)) {
    it->first.second->Remove(it->second);
  }
}

}  // namespace dasm
