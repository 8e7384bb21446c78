// The task find_range (common/spec/task_parameters.h).
#ifndef DASM_WORKER_ENGINE_TASK_FIND_RANGE_H_
#define DASM_WORKER_ENGINE_TASK_FIND_RANGE_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> FindRange(const FindRangeParameters& parameters,
                                 const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_FIND_RANGE_H_
