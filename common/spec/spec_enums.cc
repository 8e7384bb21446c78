#include "common/spec/spec_enums.h"

#include <cstddef>

namespace dasm {
namespace {

template <typename Proto, typename Spec>
struct Pair {
  Proto proto;
  Spec spec;
};

constexpr Pair<v1::NetworkSpec::Norm, Norm> kNorms[] = {
    {v1::NetworkSpec::NORM_NONE, Norm::kNone},
    {v1::NetworkSpec::NORM_INSTANCE, Norm::kInstance},
    {v1::NetworkSpec::NORM_BATCH, Norm::kBatch},
};

constexpr Pair<v1::DatasetSpec::Preprocessing, Preprocessing>
    kPreprocessings[] = {
        {v1::DatasetSpec::PREPROCESSING_NORMALIZE, Preprocessing::kNormalize},
        {v1::DatasetSpec::PREPROCESSING_ZCA, Preprocessing::kZca},
};

constexpr Pair<v1::TrajectoryMatching::Estimator, Estimator> kEstimators[] = {
    {v1::TrajectoryMatching::ESTIMATOR_STEP_ADJOINT, Estimator::kStepAdjoint},
    {v1::TrajectoryMatching::ESTIMATOR_FULL_GRAPH, Estimator::kFullGraph},
    {v1::TrajectoryMatching::ESTIMATOR_TESLA, Estimator::kTesla},
};

constexpr Pair<v1::TrajectoryMatching::StepSizeForm, StepSizeForm>
    kStepSizeForms[] = {
        {v1::TrajectoryMatching::STEP_SIZE_FORM_PLAIN, StepSizeForm::kPlain},
        {v1::TrajectoryMatching::STEP_SIZE_FORM_CLAMPED,
         StepSizeForm::kClamped},
        {v1::TrajectoryMatching::STEP_SIZE_FORM_LOG, StepSizeForm::kLog},
};

constexpr Pair<v1::TrajectoryMatching::Labels, Labels> kLabels[] = {
    {v1::TrajectoryMatching::LABELS_HARD, Labels::kHard},
    {v1::TrajectoryMatching::LABELS_SOFT_FIXED, Labels::kSoftFixed},
    {v1::TrajectoryMatching::LABELS_SOFT_LEARNED, Labels::kSoftLearned},
    {v1::TrajectoryMatching::LABELS_TEACHER, Labels::kTeacher},
};

constexpr Pair<v1::TrajectoryMatching::LabelExperts, LabelExperts>
    kLabelExperts[] = {
        {v1::TrajectoryMatching::LABEL_EXPERTS_ALL_CORRECT,
         LabelExperts::kAllCorrect},
        {v1::TrajectoryMatching::LABEL_EXPERTS_FIRST, LabelExperts::kFirst},
};

constexpr Pair<v1::ExpertSpec::Optimizer, ExpertOptimizer> kOptimizers[] = {
    {v1::ExpertSpec::OPTIMIZER_SGD, ExpertOptimizer::kSgd},
    {v1::ExpertSpec::OPTIMIZER_GSAM, ExpertOptimizer::kGsam},
};

constexpr Pair<v1::DataSchedule::Score, ScoreRule> kScores[] = {
    {v1::DataSchedule::SCORE_EL2N, ScoreRule::kEl2n},
    {v1::DataSchedule::SCORE_GRAND, ScoreRule::kGrand},
    {v1::DataSchedule::SCORE_FILE, ScoreRule::kFile},
};

constexpr Pair<v1::SynthesisSpec::Init, Init> kInits[] = {
    {v1::SynthesisSpec::INIT_REAL, Init::kReal},
    {v1::SynthesisSpec::INIT_NOISE, Init::kNoise},
    {v1::SynthesisSpec::INIT_CORRECT, Init::kCorrect},
};

constexpr Pair<v1::EvaluationSpec::Recipe, Recipe> kRecipes[] = {
    {v1::EvaluationSpec::RECIPE_IDC, Recipe::kIdc},
    {v1::EvaluationSpec::RECIPE_DC, Recipe::kDc},
    {v1::EvaluationSpec::RECIPE_TRAJECTORY, Recipe::kTrajectory},
};

constexpr Pair<v1::EvaluationSpec::Order, Order> kOrders[] = {
    {v1::EvaluationSpec::ORDER_UNION, Order::kUnion},
    {v1::EvaluationSpec::ORDER_CUMULATIVE, Order::kCumulative},
    {v1::EvaluationSpec::ORDER_STAGED, Order::kStaged},
};

constexpr Pair<v1::EvaluationSpec::Protocol, Protocol> kProtocols[] = {
    {v1::EvaluationSpec::PROTOCOL_LAST, Protocol::kLast},
    {v1::EvaluationSpec::PROTOCOL_VALIDATION, Protocol::kValidation},
    {v1::EvaluationSpec::PROTOCOL_PAPER, Protocol::kPaper},
};

template <typename Proto, typename Spec, size_t N>
Spec Read(const Pair<Proto, Spec> (&table)[N], Proto value) {
  for (const auto& pair : table) {
    if (pair.proto == value) return pair.spec;
  }
  return table[0].spec;
}

template <typename Proto, typename Spec, size_t N>
Proto Write(const Pair<Proto, Spec> (&table)[N], Spec value) {
  for (const auto& pair : table) {
    if (pair.spec == value) return pair.proto;
  }
  return table[0].proto;
}

}  // namespace

Norm FromProto(v1::NetworkSpec::Norm value) { return Read(kNorms, value); }

Preprocessing FromProto(v1::DatasetSpec::Preprocessing value) {
  return Read(kPreprocessings, value);
}

Estimator FromProto(v1::TrajectoryMatching::Estimator value) {
  return Read(kEstimators, value);
}

StepSizeForm FromProto(v1::TrajectoryMatching::StepSizeForm value) {
  return Read(kStepSizeForms, value);
}

Labels FromProto(v1::TrajectoryMatching::Labels value) {
  return Read(kLabels, value);
}

LabelExperts FromProto(v1::TrajectoryMatching::LabelExperts value) {
  return Read(kLabelExperts, value);
}

ExpertOptimizer FromProto(v1::ExpertSpec::Optimizer value) {
  return Read(kOptimizers, value);
}

ScoreRule FromProto(v1::DataSchedule::Score value) {
  return Read(kScores, value);
}

Init FromProto(v1::SynthesisSpec::Init value) { return Read(kInits, value); }

Recipe FromProto(v1::EvaluationSpec::Recipe value) {
  return Read(kRecipes, value);
}

Order FromProto(v1::EvaluationSpec::Order value) {
  return Read(kOrders, value);
}

Protocol FromProto(v1::EvaluationSpec::Protocol value) {
  return Read(kProtocols, value);
}

v1::NetworkSpec::Norm ToProto(Norm value) { return Write(kNorms, value); }

v1::DatasetSpec::Preprocessing ToProto(Preprocessing value) {
  return Write(kPreprocessings, value);
}

v1::TrajectoryMatching::Estimator ToProto(Estimator value) {
  return Write(kEstimators, value);
}

v1::TrajectoryMatching::StepSizeForm ToProto(StepSizeForm value) {
  return Write(kStepSizeForms, value);
}

v1::TrajectoryMatching::Labels ToProto(Labels value) {
  return Write(kLabels, value);
}

v1::TrajectoryMatching::LabelExperts ToProto(LabelExperts value) {
  return Write(kLabelExperts, value);
}

v1::ExpertSpec::Optimizer ToProto(ExpertOptimizer value) {
  return Write(kOptimizers, value);
}

v1::DataSchedule::Score ToProto(ScoreRule value) {
  return Write(kScores, value);
}

v1::SynthesisSpec::Init ToProto(Init value) { return Write(kInits, value); }

v1::EvaluationSpec::Recipe ToProto(Recipe value) {
  return Write(kRecipes, value);
}

v1::EvaluationSpec::Order ToProto(Order value) { return Write(kOrders, value); }

v1::EvaluationSpec::Protocol ToProto(Protocol value) {
  return Write(kProtocols, value);
}

}  // namespace dasm
