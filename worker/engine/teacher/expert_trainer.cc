#include "worker/engine/teacher/expert_trainer.h"

#include <ATen/ATen.h>

#include "common/base/status_macros.h"
#include "worker/engine/teacher/gsam.h"

namespace dasm {

ExpertTrainer::ExpertTrainer(const Network* network,
                             const ExpertTraining& training,
                             const ExecutionSpec& execution, uint64_t seed,
                             Collective* collective, at::Device device,
                             StepGraph* graph)
    : training_(training),
      trainer_(network, execution, seed, "expert", collective, device, graph) {
  options_.augmentation = {.flavour = AugmentationFlavour::kDsa,
                           .operations = training.augmentation,
                           .align_corners = true};
}

absl::StatusOr<ExpertTrainer::Queued> ExpertTrainer::Step(
    const ImageSource& source, absl::Span<const int64_t> indices, BatchKey key,
    int signal, TrainingState* state) {
  DASM_ASSIGN_OR_RETURN(
      const BatchGradient batch,
      trainer_.Gradient(source, indices, options_, key, state->parameters,
                        state->buffers, signal));
  at::Tensor direction = batch.gradient;
  if (training_.optimizer == ExpertOptimizer::kGsam) {
    const at::Tensor ascent =
        GsamAscent(state->parameters, batch.gradient, training_.gsam_rho);
    DASM_ASSIGN_OR_RETURN(const BatchGradient second,
                          trainer_.Gradient(source, indices, options_, key,
                                            ascent, state->buffers));
    direction =
        GsamDirection(batch.gradient, second.gradient, training_.gsam_alpha);
  }
  direction.add_(state->parameters, training_.weight_decay);
  state->momentum.mul_(training_.momentum).add_(direction);
  state->parameters.add_(state->momentum, -training_.learning_rate);
  // Copies: views would keep the whole row alive.
  state->buffers = batch.buffers.clone();
  ++state->step;
  return Queued{batch.loss.clone(), batch.signal.clone()};
}

}  // namespace dasm
