#include "worker/engine/task/evaluate.h"

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/training.h"
#include "worker/engine/task/training_set.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {
namespace {

struct TestedImages {
  std::string prefix;  // of what is reported
  const ImageSource* images = nullptr;
};

absl::StatusOr<std::vector<TestedImages>> TestedBy(const ImageData& data,
                                                   Split split) {
  std::vector<TestedImages> tested = {{"", &data.test()}};
  if (split == Split::kTest) return tested;
  if (data.validation() == nullptr) {
    return WithFailureClass(
        absl::FailedPreconditionError(
            absl::StrCat(data.name(),
                         " has no validation split; give it a share of the "
                         "training images with dataset.validation")),
        FailureClass::kData);
  }
  tested.push_back({"validation_", data.validation()});
  return tested;
}

}  // namespace

absl::StatusOr<TaskOutcome> Evaluate(const EvaluateParameters& parameters,
                                     const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(const std::vector<TestedImages> tested,
                        TestedBy(*data, parameters.split));
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
  Outputs outputs(context);
  nlohmann::json summary = {{"steps", trained.steps},
                            {"decoded_images", set.images->size()}};
  for (const auto& [prefix, images] : tested) {
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor logits,
        Logits(*network, trained.state.parameters, trained.state.buffers,
               *images, parameters.execution, context.collective,
               context.graph));
    const at::Tensor predictions = Predictions(logits);
    DASM_RETURN_IF_ERROR(outputs.Write(prefix + "predictions",
                                       {{"predictions", predictions}}, {}));
    summary[prefix + "accuracy"] = Accuracy(predictions, images->labels());
  }
  if (parameters.training.recipe == Recipe::kTrajectory) {
    nlohmann::json& rates = summary["learning_rates"] = nlohmann::json::array();
    for (const TrainingStage& stage : stages) {
      rates.push_back(stage.learning_rate);
    }
  }
  return outputs.Finish(summary);
}

}  // namespace dasm
