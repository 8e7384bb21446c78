// The select_pool task: from the discriminators' scores to the next segment's
// pool and its diagnostics.
#ifndef DASM_WORKER_ENGINE_TASK_SELECT_POOL_TASK_H_
#define DASM_WORKER_ENGINE_TASK_SELECT_POOL_TASK_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> SelectPoolTask(
    const SelectPoolParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_SELECT_POOL_TASK_H_
