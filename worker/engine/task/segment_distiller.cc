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
#include "worker/engine/device/resident_images.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/parameterization/multi_formation.h"
#include "worker/engine/task/checkpoint.h"

namespace dasm {
namespace {

constexpr char kPixels[] = "pixels";
constexpr char kVelocity[] = "velocity";
constexpr char kStep[] = "step";
constexpr char kFigures[] = "figures";  // final_loss, max_pixel_step

std::string StudentPrefix(int student) {
  return student == 0 ? "student." : absl::StrCat("student.", student, ".");
}

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

bool NeedsParts(const DistillSegmentParameters& parameters) {
  const int64_t micro_batch = parameters.execution.micro_batch;
  const int64_t factor = parameters.synthesis.factor;
  const int64_t decoded = parameters.images_per_class * factor * factor;
  return micro_batch > 0 &&
         std::max<int64_t>(
             parameters.matching.real_batch,
             std::min<int64_t>(decoded, parameters.matching.synthetic_batch)) >
             micro_batch;
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
      matcher_(network,
               {spec().distance, spec().layers,
                MultiFormation(options_.parameters.synthesis.factor),
                data->normalization()},
               context->graph),
      update_(ImageLearningRate(spec(), options_.parameters.images_per_class,
                                data->shape().height),
              spec().image_momentum, data->classes()),
      augmentation_{AugmentationFlavour::kIdc, spec().augmentation},
      student_step_(StudentStep(spec())),
      augmentation_stream_(options_.seed, "match.augmentation"),
      subset_stream_(options_.seed, "match.subset"),
      trainer_rank_(context->options.trainer_rank &&
                    context->collective->size() > 1),
      runner_(context->collective, context->device, trainer_rank_ ? 1 : 0),
      everyone_(context->collective, context->device),
      in_parts_(NeedsParts(options_.parameters)),
      // In parts no class has one owner, and all is exchanged as it is.
      deferred_(context->options.exchange == Exchange::kDeferred && !in_parts_),
      trainer_(network, options_.parameters.execution, options_.seed, "student",
               trainer_rank_ ? &alone_ : context->collective, context->device,
               context->graph),
      resident_(MakeResident(&data->train(), context->device)),
      samplers_(spec().inits_per_step) {
  for (std::vector<ClassSampler>& samplers : samplers_) {
    student_walks_.emplace_back(options_.seed, "student.order", 0,
                                AllOf(data->train().size()), spec().net_batch);
    for (int c = 0; c < data->classes(); ++c) {
      ClassSampler::Options sampler;
      sampler.seed = options_.seed;
      sampler.label = c;
      sampler.batch = spec().real_batch;
      sampler.whole = data->train_by_class()[c];
      sampler.pool = options_.pools[c];
      sampler.mix = options_.parameters.mix;
      samplers.emplace_back(std::move(sampler));
    }
  }
}

absl::StatusOr<SegmentDistiller::State> SegmentDistiller::Resume(
    const at::Tensor& start) {
  State state;
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                        OpenCheckpoint(context_));
  if (file == nullptr) {
    state.pixels = Upload(start, context_.device).clone();
    state.velocity = at::zeros_like(state.pixels);
    state.max_pixel_step = at::zeros({}, state.pixels.options());
    // Replaced by BeginInits; a checkpoint before that holds them.
    state.students.resize(spec().inits_per_step);
    for (TrainingState& student : state.students) student = trainer_.Start();
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
  state.max_pixel_step = at::full({}, values[1], state.pixels.options());
  if (state.step < 0 || state.step > TotalSteps()) {
    return absl::InvalidArgumentError(absl::StrCat(context_.files.checkpoint,
                                                   ": step ", state.step,
                                                   " of ", TotalSteps()));
  }
  for (int j = 0; j < spec().inits_per_step; ++j) {
    DASM_ASSIGN_OR_RETURN(
        TrainingState student,
        LoadTrainingState(*file, StudentPrefix(j), network_, context_.device));
    state.students.push_back(std::move(student));
  }
  return state;
}

absl::Status SegmentDistiller::Exchange(State* state) {
  if (!deferred_) return absl::OkStatus();
  // Class c is the c-th row of both.
  const int64_t classes = data_.classes();
  DASM_RETURN_IF_ERROR(runner_.GatherInto(classes, state->pixels));
  DASM_RETURN_IF_ERROR(runner_.GatherInto(classes, state->velocity));
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor largest,
      runner_.Gather(runner_.owners(), 1, at::kFloat,
                     [&](int64_t, const at::Tensor& row) {
                       row.copy_(state->max_pixel_step.view({1}));
                     }));
  state->max_pixel_step = largest.max();
  return absl::OkStatus();
}

absl::Status SegmentDistiller::ExchangeMomentum(State* state) const {
  if (!trainer_rank_) return absl::OkStatus();
  const int64_t size = network_.parameters().total();
  const auto students = static_cast<int64_t>(state->students.size());
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor row,
      everyone_.Sum(
          1, students * size, at::kFloat, [&](int64_t, const at::Tensor& own) {
            for (int64_t j = 0; j < students; ++j) {
              own.narrow(0, j * size, size).copy_(state->students[j].momentum);
            }
          }));
  for (int64_t j = 0; j < students; ++j) {
    state->students[j].momentum = row.narrow(0, j * size, size).clone();
  }
  return absl::OkStatus();
}

absl::Status SegmentDistiller::Save(State* state) {
  DASM_RETURN_IF_ERROR(Exchange(state));
  DASM_RETURN_IF_ERROR(ExchangeMomentum(state));
  std::map<std::string, at::Tensor> tensors;
  for (int j = 0; j < spec().inits_per_step; ++j) {
    tensors.merge(state->students[j].ToTensors(StudentPrefix(j)));
  }
  tensors[kPixels] = state->pixels;
  tensors[kVelocity] = state->velocity;
  tensors[kStep] = at::full({1}, state->step, at::kLong);
  tensors[kFigures] = at::tensor(
      {state->final_loss, state->max_pixel_step.item<double>()}, at::kDouble);
  return SaveCheckpoint(context_, state->step, tensors);
}

void SegmentDistiller::BeginInits(State* state) {
  // Here and not after every update, as in IDC's code.
  state->pixels.clamp_(0.0, 1.0);
  for (int j = 0; j < spec().inits_per_step; ++j) {
    state->students[j] =
        trainer_.Start(static_cast<uint32_t>(InitOf(state->step, j)));
  }
}

SegmentDistiller::Draw SegmentDistiller::DrawFor(const State& state, int label,
                                                 int student) const {
  Draw draw;
  draw.label = label;
  draw.student = student;
  const int factor = options_.parameters.synthesis.factor;
  const int64_t decoded = images_per_class_ * factor * factor;
  if (decoded <= spec().synthetic_batch) return draw;
  // By position in the decoded images of the class, before any sharding.
  std::vector<int64_t> subset =
      subset_stream_
          .At(static_cast<uint32_t>(InitOf(state.step, student)),
              static_cast<uint32_t>(StepInInit(state.step)), label)
          .Permutation(decoded);
  subset.resize(spec().synthetic_batch);
  std::sort(subset.begin(), subset.end());
  // Decoded image t * n + i is tile t of stored row i.
  for (int64_t d : subset) draw.rows.push_back(d % images_per_class_);
  std::sort(draw.rows.begin(), draw.rows.end());
  draw.rows.erase(std::unique(draw.rows.begin(), draw.rows.end()),
                  draw.rows.end());
  for (int64_t d : subset) {
    const int64_t row = std::lower_bound(draw.rows.begin(), draw.rows.end(),
                                         d % images_per_class_) -
                        draw.rows.begin();
    draw.decoded.push_back(d / images_per_class_ * RowsOf(draw) + row);
  }
  if (RowsOf(draw) == images_per_class_) draw.rows.clear();
  return draw;
}

absl::StatusOr<ClassMatch> SegmentDistiller::MatchClass(const State& state,
                                                        const Draw& draw) {
  const AugmentationDraw augmentation = DrawSharedAugmentation(
      augmentation_, augmentation_stream_,
      static_cast<uint32_t>(InitOf(state.step, draw.student)),
      static_cast<uint32_t>(StepInInit(state.step)), draw.label,
      network_.image_shape());
  const std::vector<int64_t> real = samplers_[draw.student][draw.label].Batch(
      PositionOf(state.step, draw.student));
  ClassBatch batch;
  batch.label = draw.label;
  batch.real = images().Normalised(real);
  batch.stored =
      state.pixels.narrow(0, draw.label * images_per_class_, images_per_class_);
  if (!draw.rows.empty()) {
    batch.stored =
        batch.stored.index_select(0, UploadIndices(draw.rows, context_.device));
  }
  batch.decoded = draw.decoded;
  batch.augmentation = &augmentation;
  const at::Tensor& parameters = state.students[draw.student].parameters;
  if (!in_parts_) return matcher_.Match(parameters, batch);
  return matcher_.MatchInParts(
      parameters, batch, options_.parameters.execution.micro_batch, runner_);
}

absl::StatusOr<SegmentDistiller::Pass> SegmentDistiller::MatchAll(
    const State& state) {
  const int64_t classes = data_.classes();
  const int64_t students = spec().inits_per_step;
  const int64_t image = state.pixels.numel() / state.pixels.size(0);
  Pass pass;
  pass.gradient = at::zeros_like(state.pixels);
  // Of each class: its distance, summed over the networks, and, later, the
  // square of its gradient's norm.
  at::Tensor figures =
      at::zeros({classes, 2}, state.pixels.options().dtype(at::kFloat));
  const auto add = [&](const Draw& draw, const at::Tensor& distance,
                       const at::Tensor& gradient) {
    figures[draw.label][0].add_(distance);
    const at::Tensor to = pass.gradient.narrow(
        0, draw.label * images_per_class_, images_per_class_);
    const at::Tensor rows =
        gradient.view({RowsOf(draw), to.size(1), to.size(2), to.size(3)});
    if (draw.rows.empty()) {
      to.add_(rows);
    } else {
      to.index_add_(0, UploadIndices(draw.rows, context_.device), rows);
    }
  };

  if (!in_parts_) DASM_RETURN_IF_ERROR(TrainAhead(state, 0, 1));
  if (deferred_ || in_parts_) {
    for (int c = 0; c < classes; ++c) {
      if (deferred_ && !runner_.Owns(c)) continue;
      for (int j = 0; j < students; ++j) {
        if (in_parts_) {
          // The exchanges of a draw wait for everyone.
          DASM_RETURN_IF_ERROR(
              TrainAhead(state, c * students + j, classes * students));
        }
        const Draw draw = DrawFor(state, c, j);
        DASM_ASSIGN_OR_RETURN(const ClassMatch match, MatchClass(state, draw));
        add(draw, match.distance, match.gradient);
      }
    }
  } else {
    std::vector<Draw> draws;
    int64_t most_rows = 0;
    for (int c = 0; c < classes; ++c) {
      for (int j = 0; j < students; ++j) {
        draws.push_back(DrawFor(state, c, j));
        most_rows = std::max(most_rows, RowsOf(draws.back()));
      }
    }
    // A row a draw: the gradient of its rows, zeros, its distance.
    const int64_t length = most_rows * image + 1;
    absl::Status matched;
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor rows,
        runner_.Gather(
            static_cast<int64_t>(draws.size()), length, at::kFloat,
            [&](int64_t unit, const at::Tensor& row) {
              const absl::StatusOr<ClassMatch> match =
                  MatchClass(state, draws[unit]);
              matched.Update(match.status());
              if (!match.ok()) return;
              const int64_t size = match->gradient.numel();
              row.narrow(0, 0, size).copy_(match->gradient.flatten());
              row.narrow(0, size, length - 1 - size).zero_();
              row[length - 1].copy_(match->distance);
            }));
    DASM_RETURN_IF_ERROR(matched);
    for (size_t unit = 0; unit < draws.size(); ++unit) {
      add(draws[unit], rows[unit][length - 1],
          rows[unit].narrow(0, 0, RowsOf(draws[unit]) * image));
    }
  }
  if (students > 1) {
    pass.gradient.div_(static_cast<double>(students));
    figures.div_(static_cast<double>(students));
  }
  figures.select(1, 1).copy_(pass.gradient.view({classes, -1}).square().sum(1));
  if (deferred_) DASM_RETURN_IF_ERROR(runner_.GatherInto(classes, figures));
  DASM_RETURN_IF_ERROR(ReadBack(state, figures, &pass));
  return pass;
}

absl::Status SegmentDistiller::ReadBack(const State& state,
                                        const at::Tensor& figures, Pass* pass) {
  const int64_t classes = data_.classes();
  const int64_t losses = student_losses_.size();
  at::Tensor all = figures.flatten();
  if (losses > 0) all = at::cat({all, at::stack(student_losses_)});
  all = all.cpu();
  student_losses_.clear();
  const float* values = all.const_data_ptr<float>();
  for (int64_t k = 0; k < losses; ++k) {
    const float loss = values[2 * classes + k];
    if (std::isfinite(loss)) continue;
    return NotFinite(absl::StrCat(
        "step ", state.step - 1, ", network ",
        InitOf(state.step - 1, static_cast<int>(k / spec().net_steps)),
        ", network step ", k % spec().net_steps, ": the training loss"));
  }
  double square = 0;
  for (int64_t c = 0; c < classes; ++c) {
    pass->loss += values[2 * c];
    square += values[2 * c + 1];
  }
  pass->loss /= static_cast<double>(classes);
  pass->gradient_norm = std::sqrt(square);
  return absl::OkStatus();
}

void SegmentDistiller::UpdatePixels(const Pass& pass, State* state) const {
  const auto step = [&](int64_t begin, int64_t size) {
    at::Tensor pixels = state->pixels.narrow(0, begin, size);
    at::Tensor velocity = state->velocity.narrow(0, begin, size);
    state->max_pixel_step = at::maximum(
        state->max_pixel_step,
        update_.Step(pass.gradient.narrow(0, begin, size), &pixels, &velocity));
  };
  if (!deferred_) return step(0, state->pixels.size(0));
  for (int64_t c = 0; c < data_.classes(); ++c) {
    if (runner_.Owns(c)) step(c * images_per_class_, images_per_class_);
  }
}

absl::Status SegmentDistiller::TrainStudents(
    int64_t step, int64_t begin, int64_t end,
    std::vector<TrainingState>* students, std::vector<at::Tensor>* losses) {
  for (int64_t n = begin; n < end; ++n) {
    const int j = static_cast<int>(n / spec().net_steps);
    const int64_t k = n % spec().net_steps;
    std::vector<int64_t> indices;
    student_walks_[j].Append(PositionOf(step, j) * spec().net_steps + k,
                             &indices);
    const BatchKey key = {
        static_cast<uint32_t>(InitOf(step, j)),
        static_cast<uint32_t>(StepInInit(step) * spec().net_steps + k)};
    DASM_ASSIGN_OR_RETURN(const at::Tensor loss,
                          trainer_.QueueStep(images(), indices, student_step_,
                                             key, &(*students)[j]));
    losses->push_back(loss);
  }
  return absl::OkStatus();
}

absl::Status SegmentDistiller::TrainAhead(const State& state, int64_t part,
                                          int64_t parts) {
  const int64_t steps = NetworkSteps(state.step);
  if (!trainer_rank_ || runner_.rank() != 0 || steps == 0) {
    return absl::OkStatus();
  }
  if (part == 0) {
    ahead_.clear();
    ahead_losses_.clear();
    // `state` stays: it is what a checkpoint of this step holds.
    for (const TrainingState& student : state.students) {
      ahead_.push_back(student.Clone());
    }
  }
  return TrainStudents(state.step, steps * part / parts,
                       steps * (part + 1) / parts, &ahead_, &ahead_losses_);
}

absl::Status SegmentDistiller::AdvanceStudents(State* state) {
  const int64_t steps = NetworkSteps(state->step);
  if (!trainer_rank_) {
    return TrainStudents(state->step, 0, steps, &state->students,
                         &student_losses_);
  }
  if (steps == 0) return absl::OkStatus();
  const int64_t p = network_.parameters().total();
  const int64_t b = network_.buffers().total();
  // The one row is rank 0's: each network's parameters and buffers, then all
  // losses, from which every rank decides alike.
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor row,
      everyone_.Sum(1, spec().inits_per_step * (p + b) + steps, at::kFloat,
                    [&](int64_t, const at::Tensor& own) {
                      std::vector<at::Tensor> parts;
                      for (const TrainingState& student : ahead_) {
                        parts.push_back(student.parameters);
                        parts.push_back(student.buffers);
                      }
                      parts.push_back(at::stack(ahead_losses_));
                      own.copy_(at::cat(parts));
                    }));
  if (runner_.rank() == 0) {
    state->students = std::exchange(ahead_, {});
    student_losses_ = std::exchange(ahead_losses_, {});
    return absl::OkStatus();
  }
  int64_t at = 0;
  const auto next = [&](int64_t size) {
    at += size;
    return row.narrow(0, at - size, size);
  };
  for (TrainingState& student : state->students) {
    // Copies: where a tensor begins decides which kernels compute with it.
    student.parameters = next(p).clone();
    student.buffers = next(b).clone();
    student.step += spec().net_steps;
  }
  student_losses_ = next(steps).unbind();
  return absl::OkStatus();
}

absl::StatusOr<SegmentDistiller::Result> SegmentDistiller::Run(
    const at::Tensor& start) {
  if (in_parts_ && network_.buffers().total() > 0) {
    return absl::InvalidArgumentError(
        "execution.micro_batch must be 0 with network.norm batch, which "
        "couples "
        "the images of a batch");
  }
  DASM_ASSIGN_OR_RETURN(State state, Resume(start));
  if (trainer_rank_ && context_.InCharge()) {
    context_.observer->Line(
        "INFO", absl::StrCat("rank 0 of ", runner_.size(),
                             " trains the networks, the others match"));
  }
  while (state.step < TotalSteps()) {
    DASM_ASSIGN_OR_RETURN(const TaskObserver::Wish wish,
                          PollTogether(context_));
    if (wish != TaskObserver::Wish::kNone) DASM_RETURN_IF_ERROR(Save(&state));
    if (wish == TaskObserver::Wish::kStop) {
      return WithFailureClass(
          absl::CancelledError(absl::StrCat("stopped as asked at step ",
                                            state.step, " of ", TotalSteps())),
          FailureClass::kPreempted);
    }
    if (StepInInit(state.step) == 0) BeginInits(&state);

    DASM_ASSIGN_OR_RETURN(const Pass pass, MatchAll(state));
    // From gathered values: every rank decides alike.
    if (!std::isfinite(pass.loss) || !std::isfinite(pass.gradient_norm)) {
      // A state that is itself broken is not saved: the checkpoint before it
      // stays the last good one. What is reported is the loss.
      const absl::Status saved = Save(&state);
      if (!saved.ok() && FailureClassOf(saved) != FailureClass::kNumeric) {
        return saved;
      }
      return NotFinite(absl::StrCat("step ", state.step, " (init ",
                                    InitOf(state.step, 0), ", inner step ",
                                    StepInInit(state.step),
                                    "): the matching loss or its gradient"));
    }
    UpdatePixels(pass, &state);
    state.final_loss = pass.loss;
    DASM_RETURN_IF_ERROR(AdvanceStudents(&state));
    ++state.step;
    context_.observer->Point("matching_loss", state.step, pass.loss);
    context_.observer->Point("gradient_norm", state.step, pass.gradient_norm);
    context_.observer->Progress(state.step, TotalSteps(), pass.loss,
                                "matching_loss");
  }
  DASM_RETURN_IF_ERROR(Exchange(&state));
  return Result{state.pixels.clamp(0.0, 1.0).to(at::kCPU).contiguous(),
                state.step, state.final_loss,
                state.max_pixel_step.item<double>()};
}

}  // namespace dasm
