// The optimiser steps of one expert: plain SGD (MTT), or GSAM (FTD, DATM, PAD;
// gsam.h) as the direction of one. Momentum and weight decay act on the
// direction; the published recipes have neither.
//
//   v = momentum v + (d + weight_decay w),  w <- w - learning_rate v
//
// Both gradients of a GSAM step are of the same augmented batch; BatchNorm's
// running statistics are those of the first. DSA augmentation of the trajectory
// family: one operation a batch, corners aligned, drawn at (epoch, step) from
// the stream "expert.augmentation" of the expert's seed.
//
// Bytes, errors, threads: as Trainer::Gradient, once or twice a step.
#ifndef DASM_WORKER_ENGINE_TEACHER_EXPERT_TRAINER_H_
#define DASM_WORKER_ENGINE_TEACHER_EXPERT_TRAINER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/spec/job_spec.h"
#include "worker/collective/collective.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/network/network.h"
#include "worker/engine/trainer/trainer.h"
#include "worker/engine/trainer/training_state.h"

namespace dasm {

class ExpertTrainer {
 public:
  // Borrows `network`, `collective` and `graph` (null: steps are called), which
  // experts of one network share. `seed` is this expert's.
  ExpertTrainer(const Network* network, const ExpertTraining& training,
                const ExecutionSpec& execution, uint64_t seed,
                Collective* collective, at::Device device,
                StepGraph* graph = nullptr);

  // A random network, from "expert.init".
  TrainingState Start() const { return trainer_.Start(); }

  struct Queued {
    at::Tensor loss;    // f32 [], mean over the batch before the step
    at::Tensor signal;  // f32 [], what rank 0 gave
  };
  // One step, queued on a device: nothing is read back, and the loss is not
  // checked.
  absl::StatusOr<Queued> Step(const ImageSource& source,
                              absl::Span<const int64_t> indices, BatchKey key,
                              int signal, TrainingState* state);

 private:
  const ExpertTraining training_;
  StepOptions options_;
  Trainer trainer_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TEACHER_EXPERT_TRAINER_H_
