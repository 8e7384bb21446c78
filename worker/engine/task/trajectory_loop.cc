#include "worker/engine/task/trajectory_loop.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/collective/single_process_collective.h"

namespace dasm {
namespace {

// Losses in a row that are not finite until the skip rule gives up.
constexpr int64_t kMostNotFinite = 10;

TrajectoryMatcher::Options MatcherOptions(const TrajectoryMatchingSpec& spec,
                                          const ExecutionSpec& execution) {
  return {spec.estimator,
          {spec.mask_from, spec.mask_to, spec.mask_smallest},
          execution.micro_batch > 0 ? execution.micro_batch
                                    : execution.train_group};
}

}  // namespace

TrajectoryLoop::TrajectoryLoop(const Network* network, const Experts* experts,
                               Collective* collective, at::Device device,
                               Options options)
    : network_(*network),
      experts_(*experts),
      collective_(collective),
      device_(device),
      options_(std::move(options)),
      matcher_(network, MatcherOptions(spec(), options_.execution),
               options_.graph),
      augmentation_{AugmentationFlavour::kDsa, spec().augmentation,
                    /*align_corners=*/true},
      step_size_(spec()),
      pixel_sgd_{spec().image_learning_rate, spec().image_momentum},
      label_sgd_{spec().label_learning_rate, spec().label_momentum},
      expert_stream_(options_.seed, "match.expert"),
      epoch_stream_(options_.seed, "match.start_epoch"),
      match_streams_{RandomStream(options_.seed, "match.batch"),
                     RandomStream(options_.seed, "match.augmentation")},
      probe_streams_{RandomStream(options_.seed, "probe.batch"),
                     RandomStream(options_.seed, "probe.augmentation")} {
  if (const SetData* earlier = options_.earlier; earlier != nullptr) {
    earlier_images_ = earlier->images.to(device_);
    earlier_labels_ =
        (soft() ? earlier->label_logits : earlier->labels).to(device_);
  }
}

TrajectoryState TrajectoryLoop::Begin(const SetData& start) const {
  TrajectoryState state;
  state.pixels = start.images.to(device_).clone();
  state.pixel_velocity = at::zeros_like(state.pixels);
  state.labels =
      (soft() ? start.label_logits : start.labels).to(device_).clone();
  if (spec().labels == Labels::kSoftLearned) {
    state.label_velocity = at::zeros_like(state.labels);
  }
  state.step_size = step_size_.Start();
  if (spec().pixel_ema > 0) state.average = state.pixels.clone();
  return state;
}

TrajectoryLoop::Source TrajectoryLoop::SourceOf(int64_t iteration,
                                                int64_t draw) const {
  const auto experts = static_cast<int64_t>(experts_.size());
  return {experts_[ExpertOfDraw(expert_stream_, experts, draw)].get(),
          DrawStartEpoch(spec(), iteration,
                         epoch_stream_.At(static_cast<uint32_t>(draw)))};
}

TrajectoryLoop::StudentSet TrajectoryLoop::SetOf(
    const TrajectoryState& state) const {
  if (!earlier_images_.defined()) return {state.pixels, state.labels};
  return {at::cat({earlier_images_, state.pixels}),
          at::cat({earlier_labels_, state.labels})};
}

StudentPath TrajectoryLoop::PathOf(const TrajectoryState& state,
                                   const StudentSet& set, const Source& source,
                                   const Streams& streams,
                                   uint32_t draw) const {
  StudentPath path;
  path.start = Upload(source.expert->Parameters(source.epoch), device_);
  path.target = Upload(
      source.expert->Parameters(source.epoch + spec().matched_epochs), device_);
  path.images = set.images;
  path.labels = set.labels;
  path.step_size = state.step_size.value;
  // A batch of the whole set is the segment's, not the union's.
  path.batches =
      DrawBatches(streams.batch, draw, 0, set.images.size(0),
                  spec().batch > 0 ? spec().batch : state.pixels.size(0),
                  spec().student_steps);
  if (augmentation_.operations.empty()) return path;
  for (size_t i = 0; i < path.batches.size(); ++i) {
    path.augmentations.push_back(DrawAugmentation(
        augmentation_, streams.augmentation, draw, static_cast<uint32_t>(i),
        static_cast<int64_t>(path.batches[i].size()), network_.image_shape()));
  }
  return path;
}

absl::StatusOr<TrajectoryLoop::Gradient> TrajectoryLoop::MatchOne(
    const TrajectoryState& state, StudentSet set, int64_t draw,
    Collective* collective) const {
  const Source source = SourceOf(state.iteration, draw);
  Gradient gradient;
  const int64_t own = state.pixels.size(0);
  const int64_t first = set.images.size(0) - own;
  if (spec().labels == Labels::kTeacher) {
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor logits,
        ExpertLogits(
            {network_, options_.execution, collective, device_, options_.graph},
            *source.expert, source.epoch + spec().matched_epochs, set.images));
    set.labels = logits.to(device_);
    gradient.teacher = set.labels.narrow(0, first, own);
  }
  DASM_ASSIGN_OR_RETURN(
      const PathGradient path,
      matcher_.Match(PathOf(state, set, source, match_streams_,
                            static_cast<uint32_t>(draw)),
                     ShardRunner(collective, device_)));
  gradient.pixels = path.images.narrow(0, first, own);
  if (spec().labels == Labels::kSoftLearned) {
    gradient.labels = path.labels.narrow(0, first, own);
  }
  gradient.figures = at::cat(
      {path.loss.view({1}), path.step_size.view({1}), path.layer_share});
  return gradient;
}

absl::StatusOr<TrajectoryLoop::Gradient> TrajectoryLoop::MatchAll(
    const TrajectoryState& state) const {
  const int64_t count = spec().trajectories_per_step;
  const StudentSet set = SetOf(state);
  if (count == 1) return MatchOne(state, set, state.iteration, collective_);

  const ShardRunner runner(collective_, device_);
  const int64_t pixels = state.pixels.numel();
  const int64_t labels = soft() ? state.labels.numel() : 0;
  const auto figures =
      2 + static_cast<int64_t>(network_.parameters().entries().size());
  // Float64, which fits the figures of a trajectory and its gradients.
  const at::Tensor all_figures =
      at::zeros({count, figures}, state.pixels.options().dtype(at::kDouble));
  absl::Status matched;
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor rows,
      runner.Gather(
          count, pixels + labels, at::kFloat,
          [&](int64_t unit, const at::Tensor& row) {
            SingleProcessCollective alone;
            const absl::StatusOr<Gradient> one =
                MatchOne(state, set, state.iteration * count + unit, &alone);
            matched.Update(one.status());
            if (!one.ok()) return;
            row.zero_();
            row.narrow(0, 0, pixels).copy_(one->pixels.flatten());
            const at::Tensor& by_labels =
                one->teacher.defined() ? one->teacher : one->labels;
            if (by_labels.defined()) {
              row.narrow(0, pixels, labels).copy_(by_labels.flatten());
            }
            all_figures[unit].copy_(one->figures);
          }));
  DASM_RETURN_IF_ERROR(matched);
  DASM_RETURN_IF_ERROR(runner.GatherInto(count, all_figures));
  Gradient mean;
  at::Tensor sum = rows[0].clone();
  for (int64_t unit = 1; unit < count; ++unit) sum.add_(rows[unit]);
  sum.div_(static_cast<double>(count));
  mean.pixels = sum.narrow(0, 0, pixels).view(state.pixels.sizes());
  if (spec().labels == Labels::kSoftLearned) {
    mean.labels = sum.narrow(0, pixels, labels).view(state.labels.sizes());
  }
  if (spec().labels == Labels::kTeacher) {
    mean.teacher = rows[count - 1]
                       .narrow(0, pixels, labels)
                       .view(state.labels.sizes())
                       .clone();
  }
  mean.figures = all_figures.mean(0);
  return mean;
}

absl::Status TrajectoryLoop::NotFinite(const TrajectoryState& state,
                                       const TrajectoryFigures& figures) const {
  const int64_t count = spec().trajectories_per_step;
  std::string sources;
  for (int64_t j = 0; j < count; ++j) {
    const Source source =
        SourceOf(state.iteration, state.iteration * count + j);
    absl::StrAppend(&sources, j == 0 ? "" : ", ", "start epoch ", source.epoch,
                    " of ", source.expert->path());
  }
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(
          "iteration ", state.iteration, " (", sources, "): the matching loss ",
          figures.loss, " or its gradient is not finite",
          spec().skip_threshold > 0
              ? absl::StrCat(", for the ", kMostNotFinite, "th time in a row")
              : "",
          "; lower matching.trajectory.image_learning_rate, "
          "step_size_learning_rate or start_epoch_max")),
      FailureClass::kNumeric);
}

absl::Status TrajectoryLoop::Update(const Gradient& gradient,
                                    double step_size_gradient,
                                    TrajectoryState* state) const {
  // First, since it alone may fail; none of the three depends on another.
  DASM_RETURN_IF_ERROR(step_size_.Step(step_size_gradient, &state->step_size));
  if (gradient.labels.defined()) {
    label_sgd_.Step(gradient.labels, &state->labels, &state->label_velocity);
  }
  pixel_sgd_.Step(gradient.pixels, &state->pixels, &state->pixel_velocity);
  if (state->average.defined()) {
    state->average.mul_(spec().pixel_ema)
        .add_(state->pixels, 1 - spec().pixel_ema);
  }
  return absl::OkStatus();
}

absl::StatusOr<TrajectoryFigures> TrajectoryLoop::Step(
    TrajectoryState* state) const {
  DASM_ASSIGN_OR_RETURN(const Gradient gradient, MatchAll(*state));
  const at::Tensor& labels =
      gradient.teacher.defined() ? gradient.teacher : state->labels;
  std::vector<at::Tensor> read = {
      gradient.figures,
      gradient.pixels.square().sum(at::kDouble).sqrt().view({1})};
  read.push_back(soft() ? MeanLabelEntropy(labels).view({1})
                        : at::zeros({1}, read[1].options()));
  if (gradient.labels.defined()) {
    read.push_back(gradient.labels.square().sum(at::kDouble).view({1}));
  }
  // The only value of the iteration that the host waits for.
  const at::Tensor values = at::cat(read).cpu();
  const double* value = values.const_data_ptr<double>();
  const int64_t layers = gradient.figures.numel() - 2;

  TrajectoryFigures figures;
  figures.loss = value[0];
  figures.step_size = state->step_size.value;
  figures.layer_share.assign(value + 2, value + 2 + layers);
  figures.gradient_norm = value[2 + layers];
  figures.label_entropy = value[3 + layers];
  // Not of the shares, which are 0 / 0 where all is matched.
  const bool finite =
      std::isfinite(figures.loss) && std::isfinite(value[1]) &&
      std::isfinite(figures.gradient_norm) &&
      (!gradient.labels.defined() || std::isfinite(value[4 + layers]));
  figures.skipped = spec().skip_threshold > 0 &&
                    (!finite || figures.loss > spec().skip_threshold);
  if (!finite &&
      (!figures.skipped || state->not_finite + 1 >= kMostNotFinite)) {
    return NotFinite(*state, figures);
  }
  if (!figures.skipped) {
    DASM_RETURN_IF_ERROR(Update(gradient, value[1], state));
  }
  if (gradient.teacher.defined()) state->labels = gradient.teacher;
  state->not_finite = finite ? 0 : state->not_finite + 1;
  state->skipped += figures.skipped;
  ++state->iteration;
  return figures;
}

absl::StatusOr<std::vector<double>> TrajectoryLoop::Probe(
    const TrajectoryState& state, const ExpertFile& held_out) const {
  std::vector<double> losses;
  StudentSet set = SetOf(state);
  for (int t = 0; t + spec().matched_epochs <= held_out.epochs(); ++t) {
    const Source source = {&held_out, t};
    if (spec().labels == Labels::kTeacher) {
      DASM_ASSIGN_OR_RETURN(
          const at::Tensor logits,
          ExpertLogits({network_, options_.execution, collective_, device_,
                        options_.graph},
                       held_out, t + spec().matched_epochs, set.images));
      set.labels = logits.to(device_);
    }
    DASM_ASSIGN_OR_RETURN(
        const MatchingLoss loss,
        matcher_.Loss(PathOf(state, set, source, probe_streams_,
                             static_cast<uint32_t>(t)),
                      ShardRunner(collective_, device_)));
    losses.push_back(loss.loss.item<double>());
  }
  return losses;
}

}  // namespace dasm
