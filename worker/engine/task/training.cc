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
constexpr int64_t kPoints = 200;

TrainHooks::Wish ToHook(TaskObserver::Wish wish) {
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

absl::StatusOr<TrainedNetwork> TrainNetwork(const TrainingJob& job,
                                            const Network& network,
                                            const ImageSource& source,
                                            const TaskContext& context) {
  Trainer trainer(&network, job.execution, job.seed, job.stream_prefix,
                  context.collective, context.device);
  TrainedNetwork result;
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> checkpoint,
                        OpenCheckpoint(context));
  if (checkpoint == nullptr) {
    result.state = trainer.Start();
  } else {
    DASM_ASSIGN_OR_RETURN(
        result.state,
        LoadTrainingState(*checkpoint, kState, network, context.device));
  }

  const int64_t steps = job.recipe.steps;
  const int64_t every = std::max<int64_t>(1, steps / kPoints);
  int64_t last_step = result.state.step;
  TrainHooks hooks;
  hooks.poll = [&] { return ToHook(context.observer->Poll()); };
  hooks.checkpoint = [&](const TrainingState& state) {
    return SaveCheckpoint(context, state.step, state.ToTensors(kState));
  };
  hooks.progress = [&](int64_t step, double loss) {
    // Not every step is told of, on a device.
    if (step / every != last_step / every || step == steps) {
      context.observer->Point("training_loss", step, loss);
    }
    last_step = step;
    context.observer->Progress(step, steps, loss, "training_loss");
  };
  DASM_ASSIGN_OR_RETURN(result.final_loss, trainer.Train(job.recipe, source,
                                                         hooks, &result.state));
  return result;
}

}  // namespace dasm
