// Trajectory matching, experts and stages: from validated structs to protos
// that are read as the same structs again.
#ifndef DASM_COMMON_SPEC_TRAJECTORY_WRITER_H_
#define DASM_COMMON_SPEC_TRAJECTORY_WRITER_H_

#include <vector>

#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

void WriteTrajectory(const TrajectoryMatchingSpec& from,
                     v1::TrajectoryMatching* to);
// The schedule only where there is one.
void WriteExperts(const ExpertSpec& from, v1::ExpertSpec* to);
// Replaces `to`.
void WriteStages(const std::vector<StageSpec>& from,
                 google::protobuf::RepeatedPtrField<v1::Stage>* to);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TRAJECTORY_WRITER_H_
