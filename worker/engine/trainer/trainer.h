// Trains a network on labelled images with SGD: evaluation, discriminators,
// reference networks, experts and IDC's network steps.
//
// A batch is cut into slices of execution.train_group images (one slice where
// the network has BatchNorm, which couples a batch). Ranks take slices
// round-robin, each image weighs 1 / |batch|, and slice gradients are added in
// slice order: the same bits for any number of ranks. Streams, by batch
// position (a, b): "<prefix>.augmentation", "<prefix>.cutmix"; Train also draws
// from "<prefix>.init" and "<prefix>.order".
//
// The loss is the mean cross-entropy with the source's targets: labels, or the
// probabilities of soft labels (which CutMix does not go with).
//
// Bytes: a step all-reduces ceil(|batch| / group) rows of P + B + 2 floats
//   (gradient, buffers, loss, signal).
// On a device nothing is read back and a slice's gradient is one recorded step
// (step_graph.h); the update, after the all-reduce, is a few kernels more.
// Errors: a non-finite loss is NUMERIC (failure class) with the step and leaves
//   the state as it was before; soft labels with CutMix are INVALID_ARGUMENT;
//   those of the collective pass through.
// Threads: one object a rank, used by one thread; all ranks make the same
//   calls. May throw c10::Error (out of memory).
#ifndef DASM_WORKER_ENGINE_TRAINER_TRAINER_H_
#define DASM_WORKER_ENGINE_TRAINER_TRAINER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/base/random_stream.h"
#include "common/spec/job_spec.h"
#include "worker/collective/collective.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"
#include "worker/engine/shard/shard_runner.h"
#include "worker/engine/trainer/training_state.h"

namespace dasm {

// One optimiser step, as torch.optim.SGD: g += weight_decay * p;
// v = momentum * v + g (v = g in the first step, which is the same with v = 0);
// p -= learning_rate * v.
struct StepOptions {
  double learning_rate = 0.01;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  AugmentationOptions augmentation;  // per image
  // DC's augmentation of digits instead of `augmentation`.
  bool dc_mnist = false;
  double cutmix = 0;  // probability per batch
};

// The keys of a batch's random draws, e.g. (iteration, step).
struct BatchKey {
  uint32_t a = 0;
  uint32_t b = 0;
};

// What a batch gives, on the device. Views of one row.
struct BatchGradient {
  at::Tensor gradient;  // f32 [P], of the mean loss; without weight decay
  at::Tensor buffers;   // f32 [B], the running statistics that it leaves
  at::Tensor loss;      // f32 [], mean over the batch; unchecked
  at::Tensor signal;    // f32 [], what rank 0 gave
};

struct StepResult {
  double loss = 0;  // mean over the batch, before the step
  int signal = 0;   // what rank 0 gave
};

// What Train asks its caller, between steps. Unset ones are not asked.
struct TrainHooks {
  enum class Wish { kNone, kCheckpoint, kStop };
  // Steps from one call, and reading of losses, to the next; 0: 1 on the CPU,
  // Trainer::kDeviceStride on a device.
  int64_t every = 0;
  // Asked of rank 0 before each step; all ranks act on the answer after it.
  std::function<Wish()> poll;
  // On every rank, for a kCheckpoint or kStop.
  std::function<absl::Status(const TrainingState&)> checkpoint;
  // On every rank, after each step (the number of steps done, and its loss).
  std::function<void(int64_t step, double loss)> progress;
};

class Trainer {
 public:
  // Borrows `network`, `collective` and `graph` (null: steps are called).
  // `device` is that of the states.
  Trainer(const Network* network, const ExecutionSpec& execution, uint64_t seed,
          const std::string& stream_prefix, Collective* collective,
          at::Device device = at::kCPU, StepGraph* graph = nullptr);

  // The gradient of a batch at `parameters` [P], nothing else: what optimisers
  // are made of. Equal keys give the same augmented batch. Running statistics
  // start from `buffers` [B], which stay; they are frozen where the caller
  // leaves the result's. Queued on a device: nothing is read back.
  absl::StatusOr<BatchGradient> Gradient(
      const ImageSource& source, absl::Span<const int64_t> indices,
      const StepOptions& options, BatchKey key, const at::Tensor& parameters,
      const at::Tensor& buffers, int signal = 0);

  // Random parameters from "<prefix>.init" at (a, b), on the device.
  TrainingState Start(uint32_t a = 0, uint32_t b = 0) const;

  // One step on the images at `indices`. `signal` (0 .. 1000, read on rank 0)
  // reaches every rank at no cost.
  absl::StatusOr<StepResult> TrainStep(const ImageSource& source,
                                       absl::Span<const int64_t> indices,
                                       const StepOptions& options, BatchKey key,
                                       TrainingState* state, int signal = 0);
  // The same step for loops that must not wait for a device: nothing is read
  // back. Returns the loss, [], unchecked; one that is not finite has spoilt
  // the state by then.
  absl::StatusOr<at::Tensor> QueueStep(const ImageSource& source,
                                       absl::Span<const int64_t> indices,
                                       const StepOptions& options, BatchKey key,
                                       TrainingState* state);

  // Steps state->step .. recipe.steps of a recipe:
  //   idc  IDC augmentation and CutMix, learning rate x 0.2 after 2/3 and 5/6
  //        of the steps
  //   dc   DSA augmentation (or DC's own of digits when the list is exactly
  //        crop, scale, rotate), learning rate / 10 and momentum forgotten at
  //        half of the steps
  //   trajectory  DSA augmentation with aligned corners; learning rate / 10 and
  //        momentum forgotten at DropStep
  // The data are walked in epochs, each a new permutation from
  // "<prefix>.order"; a short last batch is kept. Draws are keyed by (step,
  // `stage`), permutations by (epoch, stage). A run resumed from a
  // checkpointed state ends with the same bits. On a device the images are kept
  // there. With hooks.every above 1 a loss that is not finite may have spoilt
  // the state when it is found; the error names its step all the same. Returns
  // the last loss; CANCELLED with failure class PREEMPTED after a kStop.
  static constexpr int64_t kDeviceStride = 16;
  absl::StatusOr<double> Train(const TrainingRecipe& recipe,
                               const ImageSource& source,
                               const TrainHooks& hooks, TrainingState* state,
                               uint32_t stage = 0);

 private:
  struct Batch;
  // Gradient of images [begin, end) of the batch into `row`: P gradient values,
  // B buffer values, the loss.
  void ComputeSlice(const Batch& batch, int64_t begin, int64_t end,
                    const at::Tensor& parameters, const at::Tensor& buffers,
                    const at::Tensor& row) const;
  // The loss and signal of a batch that is step `step`. NUMERIC naming the
  // first loss that is not finite, of the steps before (`unread`) too.
  static absl::StatusOr<StepResult> ReadBack(
      const BatchGradient& batch, int64_t step,
      std::vector<at::Tensor> unread = {});
  // Spoils the gradient.
  void Apply(const BatchGradient& batch, const StepOptions& options,
             TrainingState* state) const;

  const Network* const network_;
  const ExecutionSpec execution_;
  const ShardRunner runner_;
  const at::Device device_;
  const RandomStream init_;
  const RandomStream order_;
  const RandomStream augmentation_;
  const RandomStream cutmix_;
  StepGraph* const graph_;
};

// Passes over the data that `steps` steps of `batches` batches a pass begin.
int64_t Passes(int64_t steps, int64_t batches);

// The first step at a tenth of the learning rate with a forgotten momentum, -1
// for recipe idc; `batches` a pass. Recipe dc: the middle of the steps. Recipe
// trajectory (Cazenavette et al. 2022): of E + 1 passes, pass E / 2 + 1
// (counted from 0, rounded down) is the last at the full rate, so that 1001
// passes drop after pass 501; three passes or fewer never drop.
int64_t DropStep(const TrainingRecipe& recipe, int64_t batches);
// The learning rate of 0-based `step`.
double LearningRate(const TrainingRecipe& recipe, int64_t step,
                    int64_t batches);
// The settings of 0-based `step`.
StepOptions StepOptionsFor(const TrainingRecipe& recipe, int64_t step,
                           int64_t batches);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TRAINER_TRAINER_H_
