// The select_coreset task: the baselines "random" (as many random training
// images) and "tiles" (random tiles of the whole training set at the same
// storage, undistilled).
#ifndef DASM_WORKER_ENGINE_TASK_SELECT_CORESET_H_
#define DASM_WORKER_ENGINE_TASK_SELECT_CORESET_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// INVALID_ARGUMENT for an unknown rule.
absl::StatusOr<TaskOutcome> SelectCoreset(
    const SelectCoresetParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_SELECT_CORESET_H_
