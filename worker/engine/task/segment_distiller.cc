#include "worker/engine/task/segment_distiller.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/parameterization/multi_formation.h"
#include "worker/engine/task/checkpoint.h"

namespace dasm {
namespace {

constexpr char kPixels[] = "pixels";
constexpr char kVelocity[] = "velocity";
constexpr char kStep[] = "step";
constexpr char kFigures[] = "figures";  // final_loss, max_pixel_step
constexpr char kStudent[] = "student.";

std::vector<int64_t> AllOf(int64_t count) {
  std::vector<int64_t> items(count);
  std::iota(items.begin(), items.end(), int64_t{0});
  return items;
}

StepOptions StudentStep(const GradientMatchingSpec& spec) {
  StepOptions options;
  options.learning_rate = spec.net_learning_rate;
  options.momentum = spec.net_momentum;
  options.weight_decay = spec.net_weight_decay;
  options.augmentation = {AugmentationFlavour::kIdc, spec.net_augmentation};
  options.cutmix = spec.net_cutmix;
  return options;
}

absl::Status NotFinite(const std::string& what) {
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(
          what,
          " is not finite; lower matching.gradient.image_learning_rate "
          "or net_learning_rate")),
      FailureClass::kNumeric);
}

}  // namespace

SegmentDistiller::SegmentDistiller(const TaskContext* context,
                                   const ImageData* data,
                                   const Network* network, Options options)
    : context_(*context),
      data_(*data),
      network_(*network),
      options_(std::move(options)),
      images_per_class_(options_.parameters.images_per_class),
      matcher_(network, {spec().distance, spec().layers,
                         MultiFormation(options_.parameters.synthesis.factor),
                         data->normalization()}),
      update_(ImageLearningRate(spec(), options_.parameters.images_per_class,
                                data->shape().height),
              spec().image_momentum, data->classes()),
      augmentation_{AugmentationFlavour::kIdc, spec().augmentation},
      student_step_(StudentStep(spec())),
      augmentation_stream_(options_.seed, "match.augmentation"),
      subset_stream_(options_.seed, "match.subset"),
      trainer_(network, options_.parameters.execution, options_.seed, "student",
               context->collective, context->device),
      student_walk_(options_.seed, "student.order", 0,
                    AllOf(data->train().size()), spec().net_batch) {
  for (int c = 0; c < data->classes(); ++c) {
    ClassSampler::Options sampler;
    sampler.seed = options_.seed;
    sampler.label = c;
    sampler.batch = spec().real_batch;
    sampler.whole = data->train_by_class()[c];
    sampler.pool = options_.pools[c];
    sampler.mix = options_.parameters.mix;
    samplers_.emplace_back(std::move(sampler));
  }
}

absl::StatusOr<SegmentDistiller::State> SegmentDistiller::Resume(
    const at::Tensor& start) {
  State state;
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                        OpenCheckpoint(context_));
  if (file == nullptr) {
    state.pixels = start.to(context_.device).clone();
    state.velocity = at::zeros_like(state.pixels);
    // Replaced by BeginInit; a checkpoint before that holds it.
    state.student = trainer_.Start();
    return state;
  }
  DASM_ASSIGN_OR_RETURN(const TensorView pixels,
                        file->Get(kPixels, DType::kF32, 4));
  DASM_ASSIGN_OR_RETURN(const TensorView velocity,
                        file->Get(kVelocity, DType::kF32, 4));
  DASM_ASSIGN_OR_RETURN(const TensorView step,
                        file->Get(kStep, DType::kI64, 1));
  DASM_ASSIGN_OR_RETURN(const TensorView figures,
                        file->Get(kFigures, DType::kF64, 1));
  state.pixels = CopyTensor(pixels).to(context_.device);
  state.velocity = CopyTensor(velocity).to(context_.device);
  if (state.pixels.sizes() != start.sizes() ||
      state.velocity.sizes() != start.sizes() || step.elements() != 1 ||
      figures.elements() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        context_.files.checkpoint, " is not a checkpoint of this segment"));
  }
  std::memcpy(&state.step, step.data, sizeof(state.step));
  double values[2];
  std::memcpy(values, figures.data, sizeof(values));
  state.final_loss = values[0];
  state.max_pixel_step = values[1];
  if (state.step < 0 || state.step > TotalSteps()) {
    return absl::InvalidArgumentError(absl::StrCat(context_.files.checkpoint,
                                                   ": step ", state.step,
                                                   " of ", TotalSteps()));
  }
  DASM_ASSIGN_OR_RETURN(
      state.student,
      LoadTrainingState(*file, kStudent, network_, context_.device));
  return state;
}

absl::Status SegmentDistiller::Save(const State& state) {
  std::map<std::string, at::Tensor> tensors = state.student.ToTensors(kStudent);
  tensors[kPixels] = state.pixels;
  tensors[kVelocity] = state.velocity;
  tensors[kStep] = at::full({1}, state.step, at::kLong);
  tensors[kFigures] =
      at::tensor({state.final_loss, state.max_pixel_step}, at::kDouble);
  return SaveCheckpoint(context_, state.step, tensors);
}

void SegmentDistiller::BeginInit(State* state) {
  // Here and not after every update, as in IDC's code.
  state->pixels.clamp_(0.0, 1.0);
  state->student = trainer_.Start(static_cast<uint32_t>(InitOf(state->step)));
}

ClassMatch SegmentDistiller::MatchClass(const State& state, int label) {
  const auto init = static_cast<uint32_t>(InitOf(state.step));
  const auto step = static_cast<uint32_t>(StepInInit(state.step));
  const AugmentationDraw draw =
      DrawSharedAugmentation(augmentation_, augmentation_stream_, init, step,
                             label, network_.image_shape());
  const int factor = options_.parameters.synthesis.factor;
  const int64_t decoded = images_per_class_ * factor * factor;
  std::vector<int64_t> subset;
  if (decoded > spec().synthetic_batch) {
    subset = subset_stream_.At(init, step, label).Permutation(decoded);
    subset.resize(spec().synthetic_batch);
    std::sort(subset.begin(), subset.end());
  }
  const std::vector<int64_t> real = samplers_[label].Batch(state.step);
  ClassBatch batch;
  batch.label = label;
  batch.real = data_.train().Normalised(real).to(context_.device);
  batch.stored =
      state.pixels.narrow(0, label * images_per_class_, images_per_class_);
  batch.decoded = subset;
  batch.augmentation = &draw;
  return matcher_.Match(state.student.parameters, batch);
}

absl::StatusOr<SegmentDistiller::Pass> SegmentDistiller::MatchAll(
    const State& state) {
  const int64_t classes = data_.classes();
  const int64_t pixels = state.pixels.numel() / classes;
  // A row a class: its pixels' gradient, its distance.
  at::Tensor rows = at::zeros({classes, pixels + 1}, at::kFloat);
  Collective* const collective = context_.collective;
  for (int64_t c = collective->rank(); c < classes; c += collective->size()) {
    const ClassMatch match = MatchClass(state, static_cast<int>(c));
    rows[c].narrow(0, 0, pixels).copy_(match.gradient.reshape({-1}));
    rows[c][pixels] = match.distance;
  }
  DASM_RETURN_IF_ERROR(collective->GatherShards(
      absl::MakeSpan(rows.data_ptr<float>(), rows.numel()), classes));
  Pass pass;
  pass.gradient = rows.narrow(1, 0, pixels)
                      .reshape(state.pixels.sizes())
                      .to(context_.device);
  const float* values = rows.data_ptr<float>();
  for (int64_t c = 0; c < classes; ++c) {
    pass.loss += values[c * (pixels + 1) + pixels];
  }
  pass.loss /= classes;
  pass.gradient_norm = pass.gradient.norm().item<double>();
  return pass;
}

absl::Status SegmentDistiller::TrainStudent(State* state) {
  for (int k = 0; k < spec().net_steps; ++k) {
    std::vector<int64_t> indices;
    student_walk_.Append(state->step * spec().net_steps + k, &indices);
    const BatchKey key = {
        static_cast<uint32_t>(InitOf(state->step)),
        static_cast<uint32_t>(StepInInit(state->step) * spec().net_steps + k)};
    const auto step = trainer_.TrainStep(data_.train(), indices, student_step_,
                                         key, &state->student);
    if (!step.ok()) {
      return WithContext(step.status(), absl::StrCat("step ", state->step,
                                                     ", network step ", k));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SegmentDistiller::Result> SegmentDistiller::Run(
    const at::Tensor& start) {
  DASM_ASSIGN_OR_RETURN(State state, Resume(start));
  while (state.step < TotalSteps()) {
    DASM_ASSIGN_OR_RETURN(const TaskObserver::Wish wish,
                          PollTogether(context_));
    if (wish != TaskObserver::Wish::kNone) DASM_RETURN_IF_ERROR(Save(state));
    if (wish == TaskObserver::Wish::kStop) {
      return WithFailureClass(
          absl::CancelledError(absl::StrCat("stopped as asked at step ",
                                            state.step, " of ", TotalSteps())),
          FailureClass::kPreempted);
    }
    if (StepInInit(state.step) == 0) BeginInit(&state);

    DASM_ASSIGN_OR_RETURN(const Pass pass, MatchAll(state));
    // From gathered values: every rank decides alike.
    if (!std::isfinite(pass.loss) || !std::isfinite(pass.gradient_norm)) {
      // A state that is itself broken is not saved: the checkpoint before it
      // stays the last good one. What is reported is the loss.
      const absl::Status saved = Save(state);
      if (!saved.ok() && FailureClassOf(saved) != FailureClass::kNumeric) {
        return saved;
      }
      return NotFinite(absl::StrCat(
          "step ", state.step, " (init ", InitOf(state.step), ", inner step ",
          StepInInit(state.step), "): the matching loss or its gradient"));
    }
    state.max_pixel_step =
        std::max(state.max_pixel_step,
                 update_.Step(pass.gradient, &state.pixels, &state.velocity));
    state.final_loss = pass.loss;
    if (StepInInit(state.step) + 1 < spec().steps_per_init) {
      DASM_RETURN_IF_ERROR(TrainStudent(&state));
    }
    ++state.step;
    context_.observer->Point("matching_loss", state.step, pass.loss);
    context_.observer->Point("gradient_norm", state.step, pass.gradient_norm);
    context_.observer->Progress(state.step, TotalSteps(), pass.loss,
                                "matching_loss");
  }
  return Result{state.pixels.clamp(0.0, 1.0).to(at::kCPU).contiguous(),
                state.step, state.final_loss, state.max_pixel_step};
}

}  // namespace dasm
