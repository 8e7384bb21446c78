#include "worker/engine/trainer/trainer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/augmentation/cutmix.h"
#include "worker/engine/augmentation/dc_mnist_augmentation.h"
#include "worker/engine/device/resident_images.h"

namespace dasm {
namespace {

std::vector<int64_t> Gather(absl::Span<const int64_t> values,
                            absl::Span<const int64_t> positions) {
  std::vector<int64_t> gathered;
  gathered.reserve(positions.size());
  for (int64_t position : positions) gathered.push_back(values[position]);
  return gathered;
}

// DC's own augmentation is named by its three operations and no other.
bool IsDcMnist(const TrainingRecipe& recipe) {
  using enum Augmentation;
  const std::vector<Augmentation>& list = recipe.augmentation;
  return recipe.recipe == Recipe::kDc && list.size() == 3 &&
         std::all_of(list.begin(), list.end(), [](Augmentation a) {
           return a == kCrop || a == kScale || a == kRotate;
         });
}

absl::Status NotFinite(double loss, int64_t step) {
  return WithFailureClass(absl::InternalError(absl::StrCat(
                              "the training loss is ", loss, " at step ", step,
                              "; a smaller learning rate may help")),
                          FailureClass::kNumeric);
}

// The step of a slice, from parameters, buffers, and of the images and then,
// for CutMix, of their partners: images, targets, augmentation; box and
// weights. Gives one row: gradient, buffers, loss.
struct SliceGradient {
  const Network* network;
  AugmentationPlan augmentation;
  bool cutmix;
  int64_t batch;  // images of which the slice is a part

  std::string Key() const {
    return absl::StrCat("train slice of ", batch, cutmix ? " mixed " : " ",
                        augmentation.Key());
  }

  StepGraph::Tensors operator()(const StepGraph::Tensors& in) const {
    at::Tensor images = ApplyAugmentation(in[2], augmentation, in[4]);
    if (cutmix) {
      images = ApplyCutMix(
          images, ApplyAugmentation(in[5], augmentation, in[7]), in[8]);
    }
    // Leaves, so that each gradient comes without a detour over the flat
    // vector.
    std::vector<at::Tensor> slices = network->Slice(in[0]);
    for (at::Tensor& slice : slices) slice = slice.detach().requires_grad_();
    const at::Tensor buffers = in[1].clone();
    const at::Tensor logits =
        network->Forward(slices, images, BufferMode::kTrain, buffers);
    const auto cross_entropy = [&logits](const at::Tensor& target) {
      return at::cross_entropy_loss(logits, target, {}, at::Reduction::Sum);
    };
    at::Tensor loss = cross_entropy(in[3]);
    if (cutmix) {
      loss = loss * in[9][0] + cross_entropy(in[6]) * in[9][1];
    }
    loss = loss / static_cast<double>(batch);
    std::vector<at::Tensor> row = torch::autograd::grad({loss}, slices);
    for (at::Tensor& gradient : row) gradient = gradient.flatten();
    row.push_back(buffers);
    row.push_back(loss.detach().view({1}));
    return {at::cat(row)};
  }
};

}  // namespace

// A batch with all of its random draws, the same on every rank.
struct Trainer::Batch {
  const ImageSource& source;
  absl::Span<const int64_t> indices;
  const StepOptions& options;
  AugmentationDraw augmentation;
  at::Tensor augmentation_parameters;
  DcMnistDraw dc_mnist;
  std::vector<float> channel_means;
  CutMixDraw cutmix;
  at::Tensor cutmix_box;
  at::Tensor cutmix_weights;

  // The images at these positions, their targets and how they are augmented.
  void AppendInputs(absl::Span<const int64_t> positions,
                    StepGraph::Tensors* inputs) const {
    const std::vector<int64_t> chosen = Gather(indices, positions);
    at::Tensor images = source.Normalised(chosen);
    if (options.dc_mnist) {
      images = ApplyDcMnist(images, dc_mnist.Select(positions), channel_means);
    }
    inputs->push_back(images);
    inputs->push_back(source.Targets(chosen));
    inputs->push_back(augmentation_parameters.index_select(
        1, UploadIndices(positions, at::kCPU)));
  }
};

Trainer::Trainer(const Network* network, const ExecutionSpec& execution,
                 uint64_t seed, const std::string& stream_prefix,
                 Collective* collective, at::Device device, StepGraph* graph)
    : network_(network),
      execution_(execution),
      runner_(collective, device),
      device_(device),
      init_(seed, absl::StrCat(stream_prefix, ".init")),
      order_(seed, absl::StrCat(stream_prefix, ".order")),
      augmentation_(seed, absl::StrCat(stream_prefix, ".augmentation")),
      cutmix_(seed, absl::StrCat(stream_prefix, ".cutmix")),
      graph_(graph) {}

TrainingState Trainer::Start(uint32_t a, uint32_t b) const {
  TrainingState state;
  state.parameters = Upload(network_->Initialize(init_, a, b), device_);
  state.buffers = Upload(network_->InitialBuffers(), device_);
  state.momentum = at::zeros_like(state.parameters);
  return state;
}

void Trainer::ComputeSlice(const Batch& batch, int64_t begin, int64_t end,
                           const at::Tensor& parameters,
                           const at::Tensor& buffers,
                           const at::Tensor& row) const {
  std::vector<int64_t> positions(end - begin);
  std::iota(positions.begin(), positions.end(), begin);
  StepGraph::Tensors inputs = {parameters, buffers};
  batch.AppendInputs(positions, &inputs);
  if (batch.cutmix.active) {
    batch.AppendInputs(Gather(batch.cutmix.partner, positions), &inputs);
    inputs.push_back(batch.cutmix_box);
    inputs.push_back(batch.cutmix_weights);
  }
  const SliceGradient step = {network_, batch.augmentation, batch.cutmix.active,
                              static_cast<int64_t>(batch.indices.size())};
  row.copy_(RunStep(graph_, device_, step.Key(), inputs, step)[0]);
}

absl::StatusOr<BatchGradient> Trainer::Gradient(
    const ImageSource& source, absl::Span<const int64_t> indices,
    const StepOptions& options, BatchKey key, const at::Tensor& parameters,
    const at::Tensor& buffers, int signal) {
  if (options.cutmix > 0 && source.has_soft_targets()) {
    return InvalidField("evaluation.cutmix",
                        "mixes hard labels; use 0 with soft ones");
  }
  const int64_t count = indices.size();
  const ImageShape shape = source.shape();
  Batch batch = {source, indices, options};
  if (options.dc_mnist) {
    batch.augmentation =
        DrawAugmentation({}, augmentation_, key.a, key.b, count, shape);
    batch.dc_mnist = DrawDcMnist(augmentation_, key.a, key.b, count, shape);
    batch.channel_means = ChannelMeans(source.Normalised(indices));
  } else {
    batch.augmentation = DrawAugmentation(options.augmentation, augmentation_,
                                          key.a, key.b, count, shape);
  }
  batch.augmentation_parameters = batch.augmentation.Parameters();
  batch.cutmix =
      DrawCutMix(options.cutmix, cutmix_, key.a, key.b, count, shape);
  if (batch.cutmix.active) {
    batch.cutmix_box = batch.cutmix.Box(shape);
    batch.cutmix_weights = batch.cutmix.Weights();
  }

  const int64_t p = network_->parameters().total();
  const int64_t b = network_->buffers().total();
  // Gradient, buffers, loss, signal.
  const int64_t length = p + b + 2;
  // BatchNorm couples the images of a batch.
  const int64_t group = b > 0 ? count : execution_.train_group;
  const int64_t shards = (count + group - 1) / group;
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sum,
      runner_.Sum(shards, length, at::kFloat,
                  [&](int64_t shard, const at::Tensor& row) {
                    row[length - 1].fill_(shard == 0 ? signal : 0);
                    ComputeSlice(batch, shard * group,
                                 std::min((shard + 1) * group, count),
                                 parameters, buffers,
                                 row.narrow(0, 0, length - 1));
                  }));
  return BatchGradient{sum.narrow(0, 0, p), sum.narrow(0, p, b),
                       sum[length - 2], sum[length - 1]};
}

void Trainer::Apply(const BatchGradient& batch, const StepOptions& options,
                    TrainingState* state) const {
  batch.gradient.add_(state->parameters, options.weight_decay);
  state->momentum.mul_(options.momentum).add_(batch.gradient);
  state->parameters.add_(state->momentum, -options.learning_rate);
  // A copy: a view would keep the whole row alive.
  state->buffers = batch.buffers.clone();
  ++state->step;
}

absl::StatusOr<StepResult> Trainer::ReadBack(const BatchGradient& batch,
                                             int64_t step,
                                             std::vector<at::Tensor> unread) {
  const auto before = static_cast<int64_t>(unread.size());
  unread.push_back(batch.loss);
  unread.push_back(batch.signal);
  const at::Tensor read = at::stack(unread).cpu();
  const float* values = read.const_data_ptr<float>();
  for (int64_t k = 0; k <= before; ++k) {
    if (!std::isfinite(values[k]))
      return NotFinite(values[k], step - before + k);
  }
  return StepResult{values[before], static_cast<int>(values[before + 1])};
}

absl::StatusOr<StepResult> Trainer::TrainStep(const ImageSource& source,
                                              absl::Span<const int64_t> indices,
                                              const StepOptions& options,
                                              BatchKey key,
                                              TrainingState* state,
                                              int signal) {
  DASM_ASSIGN_OR_RETURN(const BatchGradient batch,
                        Gradient(source, indices, options, key,
                                 state->parameters, state->buffers, signal));
  DASM_ASSIGN_OR_RETURN(const StepResult result, ReadBack(batch, state->step));
  Apply(batch, options, state);
  return result;
}

absl::StatusOr<at::Tensor> Trainer::QueueStep(const ImageSource& source,
                                              absl::Span<const int64_t> indices,
                                              const StepOptions& options,
                                              BatchKey key,
                                              TrainingState* state) {
  DASM_ASSIGN_OR_RETURN(const BatchGradient batch,
                        Gradient(source, indices, options, key,
                                 state->parameters, state->buffers));
  Apply(batch, options, state);
  // A copy, as of the buffers.
  return batch.loss.clone();
}

absl::StatusOr<double> Trainer::Train(const TrainingRecipe& recipe,
                                      const ImageSource& source,
                                      const TrainHooks& hooks,
                                      TrainingState* state, uint32_t stage) {
  const int64_t count = source.size();
  const int64_t batches = (count + recipe.batch - 1) / recipe.batch;
  const int64_t drop_step = DropStep(recipe, batches);
  std::vector<int64_t> order;
  int64_t epoch = -1;
  double loss = 0;
  const int64_t stride = hooks.every > 0    ? hooks.every
                         : device_.is_cpu() ? 1
                                            : kDeviceStride;
  // DC's augmentation of digits is the host's.
  const std::unique_ptr<ImageSource> resident =
      IsDcMnist(recipe) ? nullptr : MakeResident(&source, device_);
  const ImageSource& images = resident != nullptr ? *resident : source;
  std::vector<at::Tensor> unread;  // losses of the steps since the last stride
  while (state->step < recipe.steps) {
    const int64_t step = state->step;
    if (step / batches != epoch) {
      epoch = step / batches;
      order = order_.At(static_cast<uint32_t>(epoch), stage).Permutation(count);
    }
    if (step == drop_step) state->momentum.zero_();
    const auto indices = absl::MakeConstSpan(order).subspan(
        step % batches * recipe.batch, recipe.batch);
    const BatchKey key = {.a = static_cast<uint32_t>(step), .b = stage};
    const StepOptions options = StepOptionsFor(recipe, step, batches);
    if ((step + 1) % stride != 0 && step + 1 < recipe.steps) {
      DASM_ASSIGN_OR_RETURN(const at::Tensor queued,
                            QueueStep(images, indices, options, key, state));
      unread.push_back(queued);
      continue;
    }
    const bool asked = hooks.poll && runner_.rank() == 0;
    const int wish = asked ? static_cast<int>(hooks.poll()) : 0;
    DASM_ASSIGN_OR_RETURN(const BatchGradient batch,
                          Gradient(images, indices, options, key,
                                   state->parameters, state->buffers, wish));
    DASM_ASSIGN_OR_RETURN(const StepResult result,
                          ReadBack(batch, step, std::exchange(unread, {})));
    Apply(batch, options, state);
    loss = result.loss;
    if (hooks.progress) hooks.progress(state->step, loss);
    switch (static_cast<TrainHooks::Wish>(result.signal)) {
      case TrainHooks::Wish::kNone:
        break;
      case TrainHooks::Wish::kCheckpoint:
        if (hooks.checkpoint) DASM_RETURN_IF_ERROR(hooks.checkpoint(*state));
        break;
      case TrainHooks::Wish::kStop:
        if (hooks.checkpoint) DASM_RETURN_IF_ERROR(hooks.checkpoint(*state));
        return WithFailureClass(absl::CancelledError(absl::StrCat(
                                    "stopped after step ", state->step)),
                                FailureClass::kPreempted);
    }
  }
  return loss;
}

int64_t Passes(int64_t steps, int64_t batches) {
  return (steps + batches - 1) / batches;
}

int64_t DropStep(const TrainingRecipe& recipe, int64_t batches) {
  switch (recipe.recipe) {
    case Recipe::kIdc:
      return -1;
    case Recipe::kDc:
      return (int64_t{recipe.steps} + 1) / 2;
    case Recipe::kTrajectory:
      return ((Passes(recipe.steps, batches) - 1) / 2 + 2) * batches;
  }
  return -1;
}

double LearningRate(const TrainingRecipe& recipe, int64_t step,
                    int64_t batches) {
  const int64_t steps = recipe.steps;
  double rate = recipe.learning_rate;
  switch (recipe.recipe) {
    case Recipe::kIdc:
      if (3 * step >= 2 * steps) rate *= 0.2;
      if (6 * step >= 5 * steps) rate *= 0.2;
      break;
    case Recipe::kDc:
    case Recipe::kTrajectory:
      if (step >= DropStep(recipe, batches)) rate *= 0.1;
      break;
  }
  return rate;
}

StepOptions StepOptionsFor(const TrainingRecipe& recipe, int64_t step,
                           int64_t batches) {
  StepOptions options;
  options.learning_rate = LearningRate(recipe, step, batches);
  options.momentum = recipe.momentum;
  options.weight_decay = recipe.weight_decay;
  options.cutmix = recipe.cutmix;
  options.dc_mnist = IsDcMnist(recipe);
  if (!options.dc_mnist) {
    options.augmentation.flavour = recipe.recipe == Recipe::kIdc
                                       ? AugmentationFlavour::kIdc
                                       : AugmentationFlavour::kDsa;
    options.augmentation.operations = recipe.augmentation;
    options.augmentation.align_corners = recipe.recipe == Recipe::kTrajectory;
  }
  return options;
}

}  // namespace dasm
