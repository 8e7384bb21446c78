#include "worker/engine/task/expert_group.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/device/resident_images.h"
#include "worker/engine/task/checkpoint.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {
namespace {

constexpr char kPosition[] = "position";
constexpr char kLoss[] = "loss";
constexpr char kStart[] = "start.";
constexpr char kSeries[] = "training_loss";
// Points of the loss kept of one task.
constexpr int64_t kPoints = 200;

std::string ExpertPrefix(int k) { return absl::StrCat("expert.", k + 1, "."); }
std::string RowsPrefix(int k) { return absl::StrCat("rows.", k + 1, "."); }

TrainHooks::Wish ToHook(TaskObserver::Wish wish) {
  switch (wish) {
    case TaskObserver::Wish::kNone:
      return TrainHooks::Wish::kNone;
    case TaskObserver::Wish::kCheckpoint:
      return TrainHooks::Wish::kCheckpoint;
    case TaskObserver::Wish::kStop:
      return TrainHooks::Wish::kStop;
  }
  return TrainHooks::Wish::kNone;
}

}  // namespace

ExpertGroup::ExpertGroup(const Options& options, const TaskContext& context)
    : options_(options), context_(context) {
  const TrainExpertsParameters& p = options.parameters;
  const bool alone = context.collective->size() == 1;
  lanes_ = alone ? MakeDeviceLanes(context.device, p.count)
                 : MakeLanesInTurn(p.count);
  for (int k = 0; k < p.count; ++k) {
    StepGraph* graph = context.graph;
    if (k > 0 && alone && !context.device.is_cpu()) {
      graph = graphs_.emplace_back(MakeStepGraph(context.device)).get();
    }
    seeds_.push_back(DerivedSeed(p.seed, "expert", p.first + k));
    trainers_.emplace_back(&options.network, p.training, p.execution,
                           seeds_.back(), context.collective, context.device,
                           graph);
  }
  if (options.start != nullptr) {
    TrainingRecipe recipe = p.start.training;
    recipe.steps =
        StepsOf(recipe, p.start.epochs, options.start->images->size());
    stages_ = StagesOf(p.start.order, options.start->segments, recipe,
                       p.start.epochs);
    for (const TrainingStage& stage : stages_) start_steps_ += stage.steps;
  }
  device_images_ = MakeResident(&options.data.train(), context.device);
  total_steps_ = count() * start_steps_ + options.epochs.TotalBatches();
}

const ImageSource& ExpertGroup::images() const {
  return device_images_ != nullptr ? *device_images_ : options_.data.train();
}

absl::StatusOr<ExpertGroup::State> ExpertGroup::Load(
    const SafetensorsFile& file) const {
  DASM_ASSIGN_OR_RETURN(const TensorView position,
                        file.Get(kPosition, DType::kI64, 1));
  DASM_ASSIGN_OR_RETURN(const TensorView loss, file.Get(kLoss, DType::kF64, 1));
  if (position.shape[0] != 4 || loss.shape[0] != 1) {
    return absl::InvalidArgumentError("the checkpoint's position is malformed");
  }
  const auto* values = static_cast<const int64_t*>(position.data);
  State state = {.started = values[0],
                 .rows = values[1],
                 .batch = values[2],
                 .step = values[3],
                 .loss = *static_cast<const double*>(loss.data)};
  for (int k = 0; k < state.started; ++k) {
    DASM_ASSIGN_OR_RETURN(state.experts.emplace_back(),
                          LoadTrainingState(file, ExpertPrefix(k),
                                            options_.network, context_.device));
  }
  if (state.started < count()) {
    DASM_ASSIGN_OR_RETURN(
        state.start,
        LoadStagedState(file, kStart, options_.network, context_.device));
  }
  return state;
}

absl::Status ExpertGroup::Save(const State& state, bool starting) const {
  std::map<std::string, at::Tensor> tensors;
  tensors[kPosition] = at::tensor(
      {state.started, state.rows, state.batch, state.step}, at::kLong);
  tensors[kLoss] = at::full({1}, state.loss, at::kDouble);
  for (size_t k = 0; k < state.experts.size(); ++k) {
    tensors.merge(state.experts[k].ToTensors(ExpertPrefix(k)));
  }
  int64_t step = state.started * start_steps_ + state.step;
  if (starting) {
    tensors.merge(state.start.ToTensors(kStart));
    for (int s = 0; s < state.start.stage; ++s) step += stages_[s].steps;
    step += state.start.training.step;
  }
  std::map<std::string, at::Tensor> rows;
  for (size_t k = 0; k < writers_.size() && state.rows > 0; ++k) {
    DASM_ASSIGN_OR_RETURN(const auto written,
                          writers_[k]->Rows(static_cast<int>(state.rows)));
    for (const auto& [name, tensor] : written) {
      rows[RowsPrefix(static_cast<int>(k)) + name] = tensor;
    }
  }
  return SaveCheckpoint(context_, step, tensors, rows);
}

absl::Status ExpertGroup::OpenWriters(const SafetensorsFile* checkpoint,
                                      int64_t rows, const Outputs& outputs) {
  if (!context_.InCharge()) return absl::OkStatus();
  const TrainExpertsParameters& p = options_.parameters;
  for (int k = 0; k < count(); ++k) {
    DASM_ASSIGN_OR_RETURN(
        std::unique_ptr<ExpertWriter> writer,
        ExpertWriter::Create(outputs.Path(absl::StrCat("expert.", k + 1)),
                             {p.network, options_.network}, p.training.epochs,
                             options_.data));
    writers_.push_back(std::move(writer));
    if (rows == 0) continue;
    const auto written = [&](const char* name,
                             int64_t width) -> absl::StatusOr<at::Tensor> {
      if (width == 0) return at::empty({rows, 0}, at::kFloat);
      DASM_ASSIGN_OR_RETURN(
          const TensorView view,
          checkpoint->Get(RowsPrefix(k) + name, DType::kF32, 2));
      if (view.shape != std::vector<int64_t>{rows, width}) {
        return absl::InvalidArgumentError(
            "the checkpoint's rows are malformed");
      }
      return BorrowTensor(view);
    };
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor parameters,
        written("trajectory", options_.network.parameters().total()));
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor buffers,
        written("buffers", options_.network.buffers().total()));
    DASM_RETURN_IF_ERROR(writers_[k]->Write(0, parameters, buffers));
  }
  return absl::OkStatus();
}

absl::Status ExpertGroup::Start(State* state) {
  const TrainExpertsParameters& p = options_.parameters;
  // Within the interrupted expert, where the checkpoint was one of its start.
  bool resumed = state->start.training.parameters.defined();
  for (; state->started < count(); ++state->started) {
    const auto k = static_cast<int>(state->started);
    if (options_.start == nullptr) {
      state->experts.push_back(trainers_[k].Start());
      continue;
    }
    Trainer trainer(&options_.network, p.execution, seeds_[k], "expert.start",
                    context_.collective, context_.device, context_.graph);
    if (!resumed) state->start = {.training = trainer.Start()};
    resumed = false;
    StageHooks hooks;
    hooks.poll = [&] { return ToHook(context_.observer->Poll()); };
    hooks.progress = [&](int64_t step, double loss) {
      context_.observer->Progress(k * start_steps_ + step, total_steps_, loss,
                                  kSeries);
    };
    hooks.checkpoint = [&](const StagedState& now) {
      State checkpointed = *state;
      checkpointed.start = now;
      return Save(checkpointed, /*starting=*/true);
    };
    DASM_RETURN_IF_ERROR(TrainStages(p.start.training, *options_.start->images,
                                     stages_, hooks, &trainer, &state->start)
                             .status());
    TrainingState expert;
    expert.parameters = std::move(state->start.training.parameters);
    expert.buffers = std::move(state->start.training.buffers);
    expert.momentum = at::zeros_like(expert.parameters);
    state->experts.push_back(std::move(expert));
    state->start = {};
  }
  return absl::OkStatus();
}

absl::Status ExpertGroup::Snapshot(State* state) {
  for (size_t k = 0; k < writers_.size(); ++k) {
    const TrainingState& expert = state->experts[k];
    DASM_RETURN_IF_ERROR(writers_[k]->Write(
        static_cast<int>(state->rows), expert.parameters.cpu().unsqueeze(0),
        expert.buffers.cpu().unsqueeze(0)));
  }
  ++state->rows;
  state->batch = 0;
  return absl::OkStatus();
}

absl::Status ExpertGroup::AfterSteps(std::vector<at::Tensor> losses,
                                     const at::Tensor& signal, State* state) {
  const auto steps = static_cast<int64_t>(losses.size()) / count();
  losses.push_back(signal);
  const at::Tensor host = at::stack(losses).cpu();
  const float* values = host.const_data_ptr<float>();
  double loss = 0;
  for (int64_t i = 0; i < steps * count(); ++i) {
    loss += values[i];
    if (std::isfinite(values[i])) continue;
    return WithFailureClass(
        absl::InternalError(absl::StrCat(
            "expert ", options_.parameters.first + i % count(),
            ": the training loss is not finite in epoch ", state->rows - 1,
            ", at step ", state->batch - steps + i / count(),
            "; a smaller experts.learning_rate may help")),
        FailureClass::kNumeric);
  }
  state->loss = loss / static_cast<double>(count() * steps);
  const int64_t step = count() * start_steps_ + state->step;
  const int64_t every = std::max<int64_t>(1, total_steps_ / kPoints);
  if (step / every != (step - steps) / every || step == total_steps_) {
    context_.observer->Point(kSeries, step, state->loss);
  }
  context_.observer->Progress(step, total_steps_, state->loss, kSeries);

  const auto wish = static_cast<TaskObserver::Wish>(values[steps * count()]);
  if (wish == TaskObserver::Wish::kNone) return absl::OkStatus();
  DASM_RETURN_IF_ERROR(Save(*state, /*starting=*/false));
  if (wish == TaskObserver::Wish::kCheckpoint) return absl::OkStatus();
  return WithFailureClass(
      absl::CancelledError(absl::StrCat("stopped after step ", step)),
      FailureClass::kPreempted);
}

absl::Status ExpertGroup::TrainEpoch(State* state) {
  const auto epoch = static_cast<int>(state->rows - 1);
  std::vector<std::vector<int64_t>> orders;
  for (uint64_t seed : seeds_) {
    orders.push_back(options_.epochs.Order(seed, epoch));
  }
  const int64_t size = options_.parameters.training.batch;
  const int64_t batches = options_.epochs.Batches(epoch);
  const int64_t stride = options_.stride > 0        ? options_.stride
                         : context_.device.is_cpu() ? 1
                                                    : kStride;
  std::vector<at::Tensor> losses;  // not read yet; the experts of each step
  while (state->batch < batches) {
    const bool read =
        (state->batch + 1) % stride == 0 || state->batch + 1 == batches;
    const int wish = read && context_.InCharge()
                         ? static_cast<int>(context_.observer->Poll())
                         : 0;
    const BatchKey key = {static_cast<uint32_t>(epoch),
                          static_cast<uint32_t>(state->batch)};
    at::Tensor signal;
    DASM_RETURN_IF_ERROR(lanes_->ForEach([&](int k) -> absl::Status {
      const auto indices =
          absl::MakeConstSpan(orders[k]).subspan(state->batch * size, size);
      DASM_ASSIGN_OR_RETURN(
          const ExpertTrainer::Queued queued,
          trainers_[k].Step(images(), indices, key, k == 0 ? wish : 0,
                            &state->experts[k]));
      losses.push_back(queued.loss);
      if (k == 0) signal = queued.signal;
      return absl::OkStatus();
    }));
    ++state->batch;
    ++state->step;
    if (!read) continue;
    DASM_RETURN_IF_ERROR(AfterSteps(std::exchange(losses, {}), signal, state));
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainedExperts> ExpertGroup::Run(Outputs* outputs) {
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> checkpoint,
                        OpenCheckpoint(context_));
  State state;
  if (checkpoint != nullptr) {
    DASM_ASSIGN_OR_RETURN(state, Load(*checkpoint));
  }
  DASM_RETURN_IF_ERROR(OpenWriters(checkpoint.get(), state.rows, *outputs));
  DASM_RETURN_IF_ERROR(Start(&state));
  if (state.rows == 0) DASM_RETURN_IF_ERROR(Snapshot(&state));
  while (state.rows <= options_.parameters.training.epochs) {
    DASM_RETURN_IF_ERROR(TrainEpoch(&state));
    DASM_RETURN_IF_ERROR(Snapshot(&state));
  }
  for (size_t k = 0; k < writers_.size(); ++k) {
    DASM_RETURN_IF_ERROR(writers_[k]->Commit());
    outputs->Add(absl::StrCat("expert.", k + 1));
  }
  return TrainedExperts{std::move(state.experts), state.loss};
}

}  // namespace dasm
