#include "worker/engine/task/trajectory_distiller.h"

#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/task/checkpoint.h"
#include "worker/engine/task/trajectory_state.h"

namespace dasm {
namespace {

constexpr char kSnapshotPixels[] = "pixels";
constexpr char kSnapshotLabels[] = "label_logits";
constexpr char kSnapshotAverage[] = "average";
constexpr char kSnapshotStepSize[] = "step_size";
constexpr char kCurves[] = "curves.";
constexpr char kSnapshot[] = "snapshot.";

at::Tensor OnHost(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU).clone(at::MemoryFormat::Contiguous);
}

at::Tensor StepSizeTensor(double value) {
  return at::full({1}, value, at::kFloat);
}

}  // namespace

TrajectoryDistiller::TrajectoryDistiller(const TaskContext* context,
                                         const TrajectoryMatchingSpec& spec,
                                         int64_t layers,
                                         const TrajectoryLoop* loop,
                                         const ExpertFile* held_out)
    : context_(*context),
      spec_(spec),
      loop_(*loop),
      held_out_(held_out),
      curves_(layers, spec.labels != Labels::kHard) {}

absl::StatusOr<TrajectoryState> TrajectoryDistiller::Resume(
    const SetData& start) {
  TrajectoryState state = loop_.Begin(start);
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                        OpenCheckpoint(context_));
  if (file == nullptr) return state;
  DASM_RETURN_IF_ERROR(LoadState(*file, &state));
  if (state.iteration < 0 || state.iteration > spec_.iterations) {
    return absl::InvalidArgumentError(
        absl::StrCat(context_.files.checkpoint, ": iteration ", state.iteration,
                     " of ", spec_.iterations));
  }
  DASM_RETURN_IF_ERROR(curves_.Load(*file, kCurves));
  if (!context_.InCharge()) return state;
  for (const auto& [name, view] : file->tensors()) {
    if (name.starts_with(kSnapshot)) snapshots_[name] = CopyTensor(view);
  }
  return state;
}

absl::Status TrajectoryDistiller::Save(const TrajectoryState& state) const {
  std::map<std::string, at::Tensor> tensors = curves_.ToBits(kCurves);
  tensors.merge(TensorsOf(state));
  return SaveCheckpoint(context_, state.iteration, tensors, snapshots_);
}

absl::Status TrajectoryDistiller::ProbeIfDue(const TrajectoryState& state) {
  // A checkpoint after a failure holds the probe of its iteration already.
  if (held_out_ == nullptr || spec_.probe_interval <= 0 ||
      curves_.last_probe() == state.iteration) {
    return absl::OkStatus();
  }
  if (state.iteration % spec_.probe_interval != 0 &&
      state.iteration != spec_.iterations) {
    return absl::OkStatus();
  }
  DASM_ASSIGN_OR_RETURN(const std::vector<double> losses,
                        loop_.Probe(state, *held_out_));
  curves_.AddProbe(state.iteration, losses);
  return absl::OkStatus();
}

void TrajectoryDistiller::KeepSnapshot(const TrajectoryState& state) {
  if (!context_.InCharge()) return;
  const std::string prefix = absl::StrCat(kSnapshot, state.iteration, ".");
  snapshots_[prefix + kSnapshotPixels] = OnHost(state.pixels);
  snapshots_[prefix + kSnapshotStepSize] =
      StepSizeTensor(state.step_size.value);
  if (state.labels.is_floating_point()) {
    snapshots_[prefix + kSnapshotLabels] = OnHost(state.labels);
  }
  if (state.average.defined()) {
    snapshots_[prefix + kSnapshotAverage] = OnHost(state.average);
  }
}

void TrajectoryDistiller::Report(int64_t iteration,
                                 const TrajectoryFigures& figures) const {
  // A series has finite points; the curves have the others too.
  const auto point = [&](const char* series, double value) {
    if (std::isfinite(value)) {
      context_.observer->Point(series, iteration, value);
    }
  };
  point("matching_loss", figures.loss);
  point("step_size", figures.step_size);
  point("gradient_norm", figures.gradient_norm);
  context_.observer->Progress(iteration, spec_.iterations,
                              std::isfinite(figures.loss) ? figures.loss : 0,
                              "matching_loss");
}

TrajectoryDistiller::Result TrajectoryDistiller::Finish(
    const SetData& start, const TrajectoryState& state) const {
  Result result;
  SetData& segment = result.sets["segment"] = start;
  segment.images = OnHost(state.pixels);
  segment.step_size = StepSizeTensor(state.step_size.value);
  if (state.labels.is_floating_point()) {
    segment.label_logits = OnHost(state.labels);
  }
  if (state.average.defined()) {
    result.sets["raw"] = segment;
    segment.images = OnHost(state.average);
  }
  for (const auto& [name, pixels] : snapshots_) {
    if (!name.ends_with(kSnapshotPixels)) continue;
    const std::string prefix(absl::StripSuffix(name, kSnapshotPixels));
    const std::string output(absl::StripSuffix(prefix, "."));
    const auto find = [&](const char* part) {
      const auto found = snapshots_.find(prefix + part);
      return found == snapshots_.end() ? at::Tensor() : found->second;
    };
    SetData set = start;
    set.images = pixels;
    set.step_size = find(kSnapshotStepSize);
    set.label_logits = find(kSnapshotLabels);
    if (const at::Tensor average = find(kSnapshotAverage); average.defined()) {
      result.sets["raw_" + output] = set;
      set.images = average;
    }
    result.sets[output] = set;
  }
  result.curves = curves_.ToTensors();
  result.iterations = state.iteration;
  result.skipped = state.skipped;
  result.final_loss = curves_.last_loss();
  result.step_size = state.step_size.value;
  result.label_entropy = curves_.last_entropy();
  return result;
}

absl::StatusOr<TrajectoryDistiller::Result> TrajectoryDistiller::Run(
    const SetData& start) {
  DASM_ASSIGN_OR_RETURN(TrajectoryState state, Resume(start));
  const int64_t total = spec_.iterations;
  while (state.iteration < total) {
    DASM_ASSIGN_OR_RETURN(const TaskObserver::Wish wish,
                          PollTogether(context_));
    if (wish != TaskObserver::Wish::kNone) DASM_RETURN_IF_ERROR(Save(state));
    if (wish == TaskObserver::Wish::kStop) {
      return WithFailureClass(
          absl::CancelledError(absl::StrCat("stopped as asked at iteration ",
                                            state.iteration, " of ", total)),
          FailureClass::kPreempted);
    }
    DASM_RETURN_IF_ERROR(ProbeIfDue(state));
    const absl::StatusOr<TrajectoryFigures> figures = loop_.Step(&state);
    if (!figures.ok()) {
      if (FailureClassOf(figures.status()) != FailureClass::kNumeric) {
        return figures.status();
      }
      // All ranks decide alike, from gathered values. A state that is itself
      // broken is not saved: the checkpoint before it stays the last good one.
      const absl::Status saved = Save(state);
      if (!saved.ok() && FailureClassOf(saved) != FailureClass::kNumeric) {
        return saved;
      }
      return figures.status();
    }
    curves_.Add(state.iteration, *figures);
    if (spec_.snapshot_interval > 0 && state.iteration < total &&
        state.iteration % spec_.snapshot_interval == 0) {
      KeepSnapshot(state);
    }
    Report(state.iteration, *figures);
  }
  DASM_RETURN_IF_ERROR(ProbeIfDue(state));
  return Finish(start, state);
}

}  // namespace dasm
