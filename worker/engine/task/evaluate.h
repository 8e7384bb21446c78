// The evaluate task: trains a network from scratch on decoded sets, together or
// stage after stage (trainer/stages.h), and tests it after the last step, on
// hard labels, on every split that is asked for: what it is tested on has no
// part in the training.
//
// Errors: those of LoadTrainingSet and TrainNetwork; DATA (failure class) for a
//   validation split that the data set does not have.
#ifndef DASM_WORKER_ENGINE_TASK_EVALUATE_H_
#define DASM_WORKER_ENGINE_TASK_EVALUATE_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> Evaluate(const EvaluateParameters& parameters,
                                     const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_EVALUATE_H_
