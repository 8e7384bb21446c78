#include "worker/engine/task/train_discriminator.h"

#include <ATen/ATen.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/training.h"
#include "worker/engine/task/training_set.h"

namespace dasm {

absl::StatusOr<TaskOutcome> TrainDiscriminator(
    const TrainDiscriminatorParameters& parameters,
    const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  TrainingSet set;
  if (!parameters.real) {
    DASM_ASSIGN_OR_RETURN(
        set, LoadTrainingSet(context.files, "segment", *data,
                             parameters.training, parameters.order));
    if (set.factor != parameters.factor) {
      return WithFailureClass(absl::FailedPreconditionError(absl::StrCat(
                                  "the segments have factor ", set.factor,
                                  ", the task expects ", parameters.factor)),
                              FailureClass::kData);
    }
  } else if (parameters.training.learning_rate == 0) {
    return InvalidField("training.learning_rate",
                        "real images have no learned step size: give one");
  } else {
    set.segments = {{data->train().size(), parameters.training.learning_rate}};
  }
  const ImageSource& source = parameters.real ? data->train() : *set.images;

  TrainingJob job;
  job.recipe = parameters.training;
  job.execution = parameters.execution;
  job.seed = DerivedSeed(parameters.seed, "discriminator", parameters.index);
  job.stream_prefix = "discriminator";
  DASM_ASSIGN_OR_RETURN(
      const TrainedNetwork trained,
      TrainNetwork(job, *network, source,
                   StagesOf(parameters.order, set.segments, parameters.training,
                            parameters.epochs),
                   context));

  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(
      outputs.Write("weights",
                    {{"parameters", trained.state.parameters.to(at::kCPU)},
                     {"buffers", trained.state.buffers.to(at::kCPU)}},
                    {{"network", nlohmann::json(parameters.network).dump()}}));
  return outputs.Finish(
      {{"steps", trained.steps}, {"final_loss", trained.final_loss}});
}

}  // namespace dasm
