// The score_samples task: a trained network's class probabilities of every
// training image, without augmentation; for GraNd also how long its embedding
// is.
#ifndef DASM_WORKER_ENGINE_TASK_SCORE_SAMPLES_TASK_H_
#define DASM_WORKER_ENGINE_TASK_SCORE_SAMPLES_TASK_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> ScoreSamplesTask(
    const ScoreSamplesParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_SCORE_SAMPLES_TASK_H_
