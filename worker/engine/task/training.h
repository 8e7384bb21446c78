// Training a network from scratch, in one stage or several, as (a part of) a
// task: with checkpoints, progress and the series "training_loss". Evaluation
// and discriminators.
#ifndef DASM_WORKER_ENGINE_TASK_TRAINING_H_
#define DASM_WORKER_ENGINE_TASK_TRAINING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/network/network.h"
#include "worker/engine/task/task_context.h"
#include "worker/engine/trainer/stages.h"
#include "worker/engine/trainer/training_state.h"

namespace dasm {

struct TrainingJob {
  TrainingRecipe recipe;
  ExecutionSpec execution;
  uint64_t seed = 0;          // of this network
  std::string stream_prefix;  // "evaluate"
};

struct TrainedNetwork {
  TrainingState state;
  int64_t steps = 0;  // of all stages
  double final_loss = 0;
};

// `stages` as TrainStages. Continues from the context's checkpoint. NUMERIC,
// PREEMPTED (failure classes) as Trainer; INVALID_ARGUMENT for another action's
// checkpoint.
absl::StatusOr<TrainedNetwork> TrainNetwork(
    const TrainingJob& job, const Network& network, const ImageSource& source,
    const std::vector<TrainingStage>& stages, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAINING_H_
