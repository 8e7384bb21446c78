// The task find_range: start epochs for DATM from short distillations, each
// from the same start, and what a held-out expert makes of them
// (matcher/range_search.h).
#ifndef DASM_WORKER_ENGINE_TASK_FIND_RANGE_H_
#define DASM_WORKER_ENGINE_TASK_FIND_RANGE_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// A checkpoint holds the losses of the probes that are complete and the state
// of the one in progress.
absl::StatusOr<TaskOutcome> FindRange(const FindRangeParameters& parameters,
                                      const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_FIND_RANGE_H_
