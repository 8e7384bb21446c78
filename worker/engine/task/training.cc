#include "worker/engine/task/training.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/base/status_macros.h"
#include "worker/engine/task/checkpoint.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {
namespace {

constexpr char kState[] = "training.";
// Points of the loss kept of one training.
constexpr int64_t kTrainingPoints = 200;

TrainHooks::Wish HookWish(TaskObserver::Wish wish) {
  switch (wish) {
    case TaskObserver::Wish::kNone:
      return TrainHooks::Wish::kNone;
    case TaskObserver::Wish::kCheckpoint:
      return TrainHooks::Wish::kCheckpoint;
    case TaskObserver::Wish::kStop:
      return TrainHooks::Wish::kStop;
  }
  return TrainHooks::Wish::kNone;
}

}  // namespace

absl::StatusOr<TrainedNetwork> TrainNetwork(
    const TrainingJob& job, const Network& network, const ImageSource& source,
    const std::vector<TrainingStage>& stages, const TaskContext& context) {
  Trainer trainer(&network, job.execution, job.seed, job.stream_prefix,
                  context.collective, context.device, context.graph);
  StagedState state;
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> checkpoint,
                        OpenCheckpoint(context));
  if (checkpoint == nullptr) {
    state.training = trainer.Start();
  } else {
    DASM_ASSIGN_OR_RETURN(
        state, LoadStagedState(*checkpoint, kState, network, context.device));
  }

  TrainedNetwork result;
  for (const TrainingStage& stage : stages) result.steps += stage.steps;
  const int64_t every = std::max<int64_t>(1, result.steps / kTrainingPoints);
  int64_t last_step = state.training.step;
  for (int k = 0; k < state.stage; ++k) last_step += stages[k].steps;
  StageHooks hooks;
  hooks.poll = [&] { return HookWish(context.observer->Poll()); };
  hooks.progress = [&](int64_t step, double loss) {
    // Not every step is told of, on a device.
    if (step / every != last_step / every || step == result.steps) {
      context.observer->Point("training_loss", step, loss);
    }
    last_step = step;
    context.observer->Progress(step, result.steps, loss, "training_loss");
  };
  hooks.checkpoint = [&](const StagedState& now) {
    return SaveCheckpoint(context, last_step, now.ToTensors(kState));
  };
  DASM_ASSIGN_OR_RETURN(
      result.final_loss,
      TrainStages(job.recipe, source, stages, hooks, &trainer, &state));
  result.state = std::move(state.training);
  return result;
}

}  // namespace dasm
