// The train_discriminator task: one network on the decoded earlier segments,
// together or stage after stage (or on the training images), for scoring the
// real set.
#ifndef DASM_WORKER_ENGINE_TASK_TRAIN_DISCRIMINATOR_H_
#define DASM_WORKER_ENGINE_TASK_TRAIN_DISCRIMINATOR_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

absl::StatusOr<TaskOutcome> TrainDiscriminator(
    const TrainDiscriminatorParameters& parameters, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAIN_DISCRIMINATOR_H_
