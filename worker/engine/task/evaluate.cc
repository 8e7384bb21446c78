#include "worker/engine/task/evaluate.h"

#include <ATen/ATen.h>

#include <memory>

#include "common/base/status_macros.h"
#include "worker/engine/task/training.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {

absl::StatusOr<TaskOutcome> Evaluate(const EvaluateParameters& parameters,
                                     const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  DASM_ASSIGN_OR_RETURN(const SetData set,
                        LoadUnion(context.files, "set", *data));
  const std::unique_ptr<ImageSource> decoded = DecodeSet(set, *data);

  TrainingJob job;
  job.recipe = parameters.training;
  job.execution = parameters.execution;
  job.seed = DerivedSeed(parameters.seed, "evaluate", parameters.repeat);
  job.stream_prefix = "evaluate";
  DASM_ASSIGN_OR_RETURN(const TrainedNetwork trained,
                        TrainNetwork(job, *network, *decoded, context));
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor logits,
      Logits(*network, trained.state.parameters, trained.state.buffers,
             data->test(), parameters.execution, context.collective));
  const at::Tensor predictions = Predictions(logits);
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(
      outputs.Write("predictions", {{"predictions", predictions}}, {}));
  return outputs.Finish(
      {{"accuracy", Accuracy(predictions, data->test().labels())},
       {"steps", trained.state.step},
       {"decoded_images", decoded->size()}});
}

}  // namespace dasm
