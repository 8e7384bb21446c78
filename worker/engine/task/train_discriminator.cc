#include "worker/engine/task/train_discriminator.h"

#include <ATen/ATen.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/task/training.h"

namespace dasm {

absl::StatusOr<TaskOutcome> TrainDiscriminator(
    const TrainDiscriminatorParameters& parameters,
    const TaskContext& context) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(context.files));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  std::unique_ptr<ImageSource> decoded;
  if (!parameters.real) {
    DASM_ASSIGN_OR_RETURN(const SetData set,
                          LoadUnion(context.files, "segment", *data));
    if (set.factor != parameters.factor) {
      return WithFailureClass(absl::FailedPreconditionError(absl::StrCat(
                                  "the segments have factor ", set.factor,
                                  ", the task expects ", parameters.factor)),
                              FailureClass::kData);
    }
    decoded = DecodeSet(set, *data);
  }
  const ImageSource& source =
      parameters.real ? static_cast<const ImageSource&>(data->train())
                      : *decoded;

  TrainingJob job;
  job.recipe = parameters.training;
  job.execution = parameters.execution;
  job.seed = DerivedSeed(parameters.seed, "discriminator", parameters.index);
  job.stream_prefix = "discriminator";
  DASM_ASSIGN_OR_RETURN(const TrainedNetwork trained,
                        TrainNetwork(job, *network, source, context));

  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(
      outputs.Write("weights",
                    {{"parameters", trained.state.parameters.to(at::kCPU)},
                     {"buffers", trained.state.buffers.to(at::kCPU)}},
                    {{"network", nlohmann::json(parameters.network).dump()}}));
  return outputs.Finish(
      {{"steps", trained.state.step}, {"final_loss", trained.final_loss}});
}

}  // namespace dasm
