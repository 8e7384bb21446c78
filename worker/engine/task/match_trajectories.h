// The task match_trajectories: a segment by trajectory matching. MTT, FTD,
// TESLA, DATM, PAD, SeqMatch and DASM over trajectories are one task with
// other parameters and inputs.
#ifndef DASM_WORKER_ENGINE_TASK_MATCH_TRAJECTORIES_H_
#define DASM_WORKER_ENGINE_TASK_MATCH_TRAJECTORIES_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> MatchTrajectories(
    const MatchTrajectoriesParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_MATCH_TRAJECTORIES_H_
