#include "worker/engine/trainer/stages.h"

#include <ATen/ATen.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace dasm {

int64_t StepsOf(const TrainingRecipe& recipe, int epochs, int64_t images) {
  const int64_t batches = (images + recipe.batch - 1) / recipe.batch;
  const int64_t passes = recipe.recipe == Recipe::kIdc ? epochs : epochs + 1;
  return passes * batches;
}

std::vector<TrainingStage> StagesOf(Order order,
                                    const std::vector<SetSegment>& segments,
                                    const TrainingRecipe& recipe, int epochs) {
  std::vector<TrainingStage> stages;
  int64_t begin = 0;
  for (const SetSegment& segment : segments) {
    const int64_t end = begin + segment.images;
    TrainingStage stage;
    stage.begin = order == Order::kStaged ? begin : 0;
    stage.end = end;
    stage.learning_rate = segment.step_size;
    stage.steps = StepsOf(recipe, epochs, stage.end - stage.begin);
    stages.push_back(stage);
    begin = end;
  }
  if (order == Order::kUnion) {
    stages.erase(stages.begin(), stages.end() - 1);
    stages[0].steps = recipe.steps;
  }
  return stages;
}

std::map<std::string, at::Tensor> StagedState::ToTensors(
    const std::string& prefix) const {
  std::map<std::string, at::Tensor> tensors = training.ToTensors(prefix);
  tensors[prefix + "stage"] = at::full({1}, int64_t{stage}, at::kLong);
  tensors[prefix + "loss"] = at::full({1}, loss, at::kDouble);
  return tensors;
}

absl::StatusOr<StagedState> LoadStagedState(const SafetensorsFile& file,
                                            const std::string& prefix,
                                            const Network& network,
                                            at::Device device) {
  StagedState state;
  DASM_ASSIGN_OR_RETURN(state.training,
                        LoadTrainingState(file, prefix, network, device));
  DASM_ASSIGN_OR_RETURN(const TensorView stage,
                        file.Get(prefix + "stage", DType::kI64, 1));
  DASM_ASSIGN_OR_RETURN(const TensorView loss,
                        file.Get(prefix + "loss", DType::kF64, 1));
  if (stage.shape[0] != 1 || loss.shape[0] != 1) {
    return absl::InvalidArgumentError(absl::StrCat("the checkpoint's ", prefix,
                                                   "stage or ", prefix,
                                                   "loss is not one number"));
  }
  state.stage = static_cast<int>(*static_cast<const int64_t*>(stage.data));
  state.loss = *static_cast<const double*>(loss.data);
  return state;
}

absl::StatusOr<double> TrainStages(const TrainingRecipe& recipe,
                                   const ImageSource& source,
                                   const std::vector<TrainingStage>& stages,
                                   const StageHooks& hooks, Trainer* trainer,
                                   StagedState* state) {
  if (state->stage < 0 || state->stage >= static_cast<int>(stages.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint is of stage ", state->stage, ", of ",
                     stages.size(), "; it belongs to another task"));
  }
  int64_t before = 0;  // steps of the finished stages
  for (int k = 0; k < state->stage; ++k) before += stages[k].steps;
  while (true) {
    const TrainingStage& stage = stages[state->stage];
    TrainingRecipe own = recipe;
    own.steps = static_cast<int>(stage.steps);
    own.learning_rate = stage.learning_rate;

    TrainHooks inner;
    inner.poll = hooks.poll;
    inner.progress = [&](int64_t step, double loss) {
      state->loss = loss;
      if (hooks.progress) hooks.progress(before + step, loss);
    };
    if (hooks.checkpoint) {
      // The state that is handed over is state->training.
      inner.checkpoint = [&](const TrainingState&) {
        return hooks.checkpoint(*state);
      };
    }
    const SourceRange images(&source, stage.begin, stage.end);
    DASM_RETURN_IF_ERROR(trainer
                             ->Train(own, images, inner, &state->training,
                                     static_cast<uint32_t>(state->stage))
                             .status());
    if (state->stage + 1 == static_cast<int>(stages.size())) break;
    before += stage.steps;
    ++state->stage;
    state->training.step = 0;
    state->training.momentum.zero_();
  }
  return state->loss;
}

}  // namespace dasm
