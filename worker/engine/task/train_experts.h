// The train_experts task: a group of experts, the teachers of trajectory
// matching (worker/engine/teacher).
#ifndef DASM_WORKER_ENGINE_TASK_TRAIN_EXPERTS_H_
#define DASM_WORKER_ENGINE_TASK_TRAIN_EXPERTS_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// The summary's training_accuracy is the mean over the experts, in percent, on
// at most 2,000 training images spread evenly over the data set, without
// augmentation.
// Errors as ExpertGroup; DATA for inputs of another data set; INVALID_ARGUMENT
// (field experts.batch) for a batch larger than the data set.
absl::StatusOr<TaskOutcome> TrainExperts(
    const TrainExpertsParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAIN_EXPERTS_H_
