// The enums of trajectory matching in a proto and in a validated spec: one
// table for both directions. UNSPECIFIED, which CheckKnown lets nobody give,
// reads as the first value.
#ifndef DASM_COMMON_SPEC_SPEC_ENUMS_H_
#define DASM_COMMON_SPEC_SPEC_ENUMS_H_

#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

Norm FromProto(v1::NetworkSpec::Norm value);
Preprocessing FromProto(v1::DatasetSpec::Preprocessing value);
Estimator FromProto(v1::TrajectoryMatching::Estimator value);
StepSizeForm FromProto(v1::TrajectoryMatching::StepSizeForm value);
Labels FromProto(v1::TrajectoryMatching::Labels value);
LabelExperts FromProto(v1::TrajectoryMatching::LabelExperts value);
ExpertOptimizer FromProto(v1::ExpertSpec::Optimizer value);
ScoreRule FromProto(v1::DataSchedule::Score value);
Init FromProto(v1::SynthesisSpec::Init value);
Recipe FromProto(v1::EvaluationSpec::Recipe value);
Order FromProto(v1::EvaluationSpec::Order value);
Protocol FromProto(v1::EvaluationSpec::Protocol value);

v1::NetworkSpec::Norm ToProto(Norm value);
v1::DatasetSpec::Preprocessing ToProto(Preprocessing value);
v1::TrajectoryMatching::Estimator ToProto(Estimator value);
v1::TrajectoryMatching::StepSizeForm ToProto(StepSizeForm value);
v1::TrajectoryMatching::Labels ToProto(Labels value);
v1::TrajectoryMatching::LabelExperts ToProto(LabelExperts value);
v1::ExpertSpec::Optimizer ToProto(ExpertOptimizer value);
v1::DataSchedule::Score ToProto(ScoreRule value);
v1::SynthesisSpec::Init ToProto(Init value);
v1::EvaluationSpec::Recipe ToProto(Recipe value);
v1::EvaluationSpec::Order ToProto(Order value);
v1::EvaluationSpec::Protocol ToProto(Protocol value);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_SPEC_ENUMS_H_
