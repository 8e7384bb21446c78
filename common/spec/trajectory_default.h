// What a job that matches trajectories gets where neither spec nor preset say
// otherwise, and how a published row becomes such a job.
#ifndef DASM_COMMON_SPEC_TRAJECTORY_DEFAULT_H_
#define DASM_COMMON_SPEC_TRAJECTORY_DEFAULT_H_

#include "common/spec/known_dataset.h"
#include "common/spec/trajectory_table.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// Sets matching.trajectory and experts: 5000 iterations on 100 experts of 50
// epochs by plain SGD; labels are hard or, with a label learning rate, learned.
// `flip`: mirror images belong to their classes.
void SetTrajectory(const TrajectoryRow& row, bool flip, v1::JobSpec* spec);

// Sets the recipe trajectory: the learned step size, batch 256 (128 where
// labels are soft, as DATM has it), no CutMix. Its length, 1000 epochs, is
// derived.
void SetTrajectoryRecipe(bool soft_labels, bool flip,
                         v1::EvaluationSpec* evaluation);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TRAJECTORY_DEFAULT_H_
