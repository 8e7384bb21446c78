// The distill_segment task: reads data set, pool and earlier segments, draws
// the start, runs the SegmentDistiller, writes "segment" and "start".
#ifndef DASM_WORKER_ENGINE_TASK_DISTILL_SEGMENT_H_
#define DASM_WORKER_ENGINE_TASK_DISTILL_SEGMENT_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> DistillSegment(
    const DistillSegmentParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_DISTILL_SEGMENT_H_
