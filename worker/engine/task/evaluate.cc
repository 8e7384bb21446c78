#include "worker/engine/task/evaluate.h"

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/training.h"
#include "worker/engine/task/training_set.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {
namespace {

absl::StatusOr<const ImageSource*> SplitOf(const ImageData& data, Split split) {
  if (split == Split::kTest) return &data.test();
  if (data.validation() != nullptr) return data.validation();
  return WithFailureClass(
      absl::FailedPreconditionError(
          absl::StrCat(data.name(),
                       " has no validation split; give it a share of the "
                       "training images with dataset.validation")),
      FailureClass::kData);
}

}  // namespace

absl::StatusOr<TaskOutcome> Evaluate(const EvaluateParameters& parameters,
                                     const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(const ImageSource* tested,
                        SplitOf(*data, parameters.split));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  DASM_ASSIGN_OR_RETURN(const TrainingSet set,
                        LoadTrainingSet(context.files, "set", *data,
                                        parameters.training, parameters.order));
  const std::vector<TrainingStage> stages = StagesOf(
      parameters.order, set.segments, parameters.training, parameters.epochs);

  TrainingJob job;
  job.recipe = parameters.training;
  job.execution = parameters.execution;
  job.seed = DerivedSeed(parameters.seed, "evaluate", parameters.repeat);
  job.stream_prefix = "evaluate";
  DASM_ASSIGN_OR_RETURN(
      const TrainedNetwork trained,
      TrainNetwork(job, *network, *set.images, stages, context));
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor logits,
      Logits(*network, trained.state.parameters, trained.state.buffers, *tested,
             parameters.execution, context.collective, context.graph));
  const at::Tensor predictions = Predictions(logits);
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(
      outputs.Write("predictions", {{"predictions", predictions}}, {}));
  nlohmann::json summary = {
      {"accuracy", Accuracy(predictions, tested->labels())},
      {"steps", trained.steps},
      {"decoded_images", set.images->size()}};
  if (parameters.training.recipe == Recipe::kTrajectory) {
    nlohmann::json& rates = summary["learning_rates"] = nlohmann::json::array();
    for (const TrainingStage& stage : stages) {
      rates.push_back(stage.learning_rate);
    }
  }
  return outputs.Finish(summary);
}

}  // namespace dasm
