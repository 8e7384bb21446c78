// Trajectory matching, experts and the stages of a sequence: from a merged
// proto to validated structs. What one part says about another (expert epochs
// that the start epochs need, labels that the recipe must know) is checked by
// trajectory_check.h.
#ifndef DASM_COMMON_SPEC_TRAJECTORY_READER_H_
#define DASM_COMMON_SPEC_TRAJECTORY_READER_H_

#include "common/spec/field_reader.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// Without growth the start range is what it grows to from the beginning:
// start_epoch_initial may then be left out. Labels that are not learned have
// no learning rate.
TrajectoryMatchingSpec ReadTrajectory(const v1::TrajectoryMatching& from,
                                      FieldReader* reader);

// A schedule that holds nothing back is none.
ExpertSpec ReadExperts(const v1::ExpertSpec& from, FieldReader* reader);

// Gives `sequence`, whose segments are read, one complete stage a segment: what
// `from` says of it over what all segments have in common. The experts of later
// segments are trained for as many epochs as the interval needs, unless the
// stage says otherwise. The stage of a single segment is put into *matching and
// *experts as well.
void ReadStages(const v1::SequenceSpec& from, TrajectoryMatchingSpec* matching,
                ExpertSpec* experts, SequenceSpec* sequence,
                FieldReader* reader);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TRAJECTORY_READER_H_
