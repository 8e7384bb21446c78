// The rank_samples task: training images by difficulty (engine/score), the mean
// over several networks, each class from easy to hard.
#ifndef DASM_WORKER_ENGINE_TASK_RANK_SAMPLES_H_
#define DASM_WORKER_ENGINE_TASK_RANK_SAMPLES_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// DATA for scores of other images, or without feature norms for `grand`;
// INVALID_ARGUMENT for rule `file`, which import_scores reads.
absl::StatusOr<TaskOutcome> RankSamples(const RankSamplesParameters& parameters,
                                        const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_RANK_SAMPLES_H_
