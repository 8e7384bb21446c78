#include "worker/engine/task/score_samples_task.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/score/score_samples.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {
namespace {

struct Weights {
  at::Tensor parameters;
  at::Tensor buffers;
};

absl::StatusOr<Weights> LoadWeights(const std::string& path,
                                    const Network& network) {
  const auto bad = [&](const absl::Status& status) {
    return WithFailureClass(WithContext(status, path), FailureClass::kData);
  };
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return bad(file.status());
  const auto parameters = (*file)->Get("parameters", DType::kF32, 1);
  if (!parameters.ok()) return bad(parameters.status());
  const auto buffers = (*file)->Get("buffers", DType::kF32, 1);
  if (!buffers.ok()) return bad(buffers.status());
  if (parameters->elements() != network.parameters().total() ||
      buffers->elements() != network.buffers().total()) {
    return bad(absl::FailedPreconditionError(absl::StrCat(
        "weights of another network: ", parameters->elements(),
        " parameters where ", network.parameters().total(), " are expected")));
  }
  return Weights{CopyTensor(*parameters), CopyTensor(*buffers)};
}

}  // namespace

absl::StatusOr<TaskOutcome> ScoreSamplesTask(
    const ScoreSamplesParameters& parameters, const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  DASM_ASSIGN_OR_RETURN(const std::string path,
                        InputPath(context.files, "weights"));
  DASM_ASSIGN_OR_RETURN(const Weights weights, LoadWeights(path, *network));
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor probabilities,
      ScoreSamples(*network, weights.parameters.to(context.device),
                   weights.buffers.to(context.device), data->train(),
                   parameters.execution, context.collective, context.graph));
  std::map<std::string, at::Tensor> scores = {{"probabilities", probabilities}};
  if (parameters.grand) {
    DASM_ASSIGN_OR_RETURN(
        scores["feature_norm"],
        FeatureNorms(*network, weights.parameters.to(context.device),
                     weights.buffers.to(context.device), data->train(),
                     parameters.execution, context.collective, context.graph));
  }
  for (const auto& [name, tensor] : scores) {
    if (tensor.isfinite().all().item<bool>()) continue;
    return WithFailureClass(
        absl::FailedPreconditionError(
            absl::StrCat(path, ": the network's ", name, " are not finite")),
        FailureClass::kNumeric);
  }
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(outputs.Write("scores", scores, {}));
  return outputs.Finish(
      {{"training_accuracy",
        Accuracy(Predictions(probabilities), data->train().labels())}});
}

}  // namespace dasm
