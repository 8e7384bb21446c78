// The assemble task: the segments as the synthetic set that a user downloads,
// its start, and its picture.
#ifndef DASM_WORKER_ENGINE_TASK_ASSEMBLE_H_
#define DASM_WORKER_ENGINE_TASK_ASSEMBLE_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> Assemble(const AssembleParameters& parameters,
                                     const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_ASSEMBLE_H_
