#include "worker/engine/task/find_range.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/matcher/range_search.h"
#include "worker/engine/task/checkpoint.h"
#include "worker/engine/task/trajectory_inputs.h"
#include "worker/engine/task/trajectory_loop.h"
#include "worker/engine/task/trajectory_start.h"
#include "worker/engine/task/trajectory_state.h"

namespace dasm {
namespace {

constexpr char kProbes[] = "probes";

class RangeFinder {
 public:
  RangeFinder(const FindRangeParameters& parameters, const TaskContext& context,
              const Network& network, const Experts& experts,
              const ExpertFile& held_out, int start_epochs)
      : parameters_(parameters),
        context_(context),
        network_(network),
        experts_(experts),
        held_out_(held_out),
        start_epochs_(start_epochs),
        search_(parameters.window, start_epochs) {}

  absl::StatusOr<RangeSearch> Search(const SetData& start) {
    DASM_RETURN_IF_ERROR(Resume());
    while (search_.Next().has_value()) {
      DASM_ASSIGN_OR_RETURN(std::vector<double> losses,
                            Probe(start, *search_.Next()));
      checkpoint_.reset();
      losses.resize(start_epochs_);
      search_.Add(losses);
    }
    return search_;
  }

 private:
  absl::Status Resume() {
    DASM_ASSIGN_OR_RETURN(checkpoint_, OpenCheckpoint(context_));
    if (checkpoint_ == nullptr) return absl::OkStatus();
    DASM_ASSIGN_OR_RETURN(const TensorView bits,
                          checkpoint_->Get(kProbes, DType::kI64, 2));
    if (bits.shape[1] != start_epochs_) {
      return absl::InvalidArgumentError(absl::StrCat(
          context_.files.checkpoint, " is not a checkpoint of this range"));
    }
    const auto* row = static_cast<const char*>(bits.data);
    for (int64_t k = 0; k < bits.shape[0]; ++k) {
      std::vector<double> losses(start_epochs_);
      const size_t bytes = losses.size() * sizeof(double);
      std::memcpy(losses.data(), row + k * bytes, bytes);
      search_.Add(losses);
    }
    return absl::OkStatus();
  }

  // The probes that are complete, and the one in progress. Losses as their
  // bits: one may be infinite.
  absl::Status Save(const TrajectoryState& state) const {
    const auto probes = static_cast<int64_t>(search_.losses().size());
    const at::Tensor bits = at::empty({probes, start_epochs_}, at::kLong);
    auto* row = static_cast<char*>(bits.mutable_data_ptr());
    for (const std::vector<double>& losses : search_.losses()) {
      std::memcpy(row, losses.data(), losses.size() * sizeof(double));
      row += losses.size() * sizeof(double);
    }
    std::map<std::string, at::Tensor> tensors = TensorsOf(state);
    tensors[kProbes] = bits;
    return SaveCheckpoint(context_, Step(state), tensors);
  }

  // Iterations of all probes; the first one, of the start itself, has none.
  int64_t Step(const TrajectoryState& state) const {
    const int64_t before = static_cast<int64_t>(search_.losses().size()) - 1;
    return before * parameters_.iterations + state.iteration;
  }

  // A distillation from [begin, end) and the losses after it.
  absl::StatusOr<std::vector<double>> Probe(const SetData& start,
                                            RangeSearch::Bounds bounds) {
    TrajectoryMatchingSpec spec = parameters_.matching;
    spec.start_epoch_min = bounds.begin;
    spec.start_epoch_initial = bounds.end;
    spec.start_epoch_max = bounds.end;
    spec.growth_iterations = 0;
    const TrajectoryLoop loop(&network_, &experts_, context_.collective,
                              context_.device,
                              {spec, parameters_.execution,
                               DerivedSeed(parameters_.seed, "find_range", 0),
                               nullptr, context_.graph});
    TrajectoryState state = loop.Begin(start);
    if (checkpoint_ != nullptr) {
      DASM_RETURN_IF_ERROR(LoadState(*checkpoint_, &state));
    }
    const bool distils = bounds.end > bounds.begin;
    while (distils && state.iteration < parameters_.iterations) {
      DASM_ASSIGN_OR_RETURN(const TaskObserver::Wish wish,
                            PollTogether(context_));
      if (wish != TaskObserver::Wish::kNone) DASM_RETURN_IF_ERROR(Save(state));
      if (wish == TaskObserver::Wish::kStop) {
        return WithFailureClass(
            absl::CancelledError(
                absl::StrCat("stopped as asked at iteration ", state.iteration,
                             " of ", parameters_.iterations, " after ",
                             search_.losses().size(), " probes")),
            FailureClass::kPreempted);
      }
      DASM_ASSIGN_OR_RETURN(const TrajectoryFigures figures, loop.Step(&state));
      const int64_t step = Step(state);
      context_.observer->Point("matching_loss", step, figures.loss);
      // At most one probe a window of start epochs for each of two passes.
      const int64_t most =
          2 * ((start_epochs_ + parameters_.window - 1) / parameters_.window) *
          int64_t{parameters_.iterations};
      context_.observer->Progress(step, std::max(step, most), figures.loss,
                                  "matching_loss");
    }
    return loop.Probe(state, held_out_);
  }

  const FindRangeParameters& parameters_;
  const TaskContext& context_;
  const Network& network_;
  const Experts& experts_;
  const ExpertFile& held_out_;
  const int start_epochs_;
  RangeSearch search_;
  // Until the probe that it interrupted is complete.
  std::unique_ptr<SafetensorsFile> checkpoint_;
};

at::Tensor One(int64_t value) { return at::full({1}, value, at::kLong); }

}  // namespace

absl::StatusOr<TaskOutcome> FindRange(const FindRangeParameters& parameters,
                                      const TaskContext& context) {
  const TaskFiles& files = context.files;
  const TrajectoryMatchingSpec& spec = parameters.matching;
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ImageData> data,
                        OpenDataset(files));
  DASM_ASSIGN_OR_RETURN(
      const std::unique_ptr<Network> network,
      MakeNetwork(parameters.network, data->shape(), data->classes()));
  const NetworkIdentity identity = {parameters.network, *network};
  const int least = std::max(spec.matched_epochs, spec.label_epoch);
  DASM_ASSIGN_OR_RETURN(const Experts experts,
                        OpenExperts(files, identity, *data, least));
  DASM_RETURN_IF_ERROR(InputPath(files, "probe").status());
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<ExpertFile> held_out,
                        OpenProbe(files, identity, *data, least));
  int epochs = held_out->epochs();
  for (const auto& expert : experts)
    epochs = std::min(epochs, expert->epochs());

  const std::vector<ClassPool> no_pools(data->classes());
  DASM_ASSIGN_OR_RETURN(
      const SetData start,
      DrawTrajectoryStart(
          {DerivedSeed(parameters.seed, "segment", 0), parameters.init,
           parameters.images_per_class, 0, spec, parameters.execution},
          *data, *network, experts, no_pools, {}, context));
  RangeFinder finder(parameters, context, *network, experts, *held_out,
                     epochs - spec.matched_epochs + 1);
  DASM_ASSIGN_OR_RETURN(const RangeSearch search, finder.Search(start));

  const RangeSearch::Range range = search.Found();
  const auto probes = static_cast<int64_t>(search.losses().size());
  std::vector<at::Tensor> losses;
  const at::Tensor bounds = at::empty({probes, 2}, at::kLong);
  for (int64_t k = 0; k < probes; ++k) {
    losses.push_back(
        at::tensor(at::ArrayRef<double>(search.losses()[k]), at::kFloat));
    bounds[k][0].fill_(search.bounds()[k].begin);
    bounds[k][1].fill_(search.bounds()[k].end);
  }
  Outputs outputs(context);
  DASM_RETURN_IF_ERROR(
      outputs.Write("range",
                    {{"start_epoch_min", One(range.min)},
                     {"start_epoch_initial", One(range.initial)},
                     {"start_epoch_max", One(range.max)},
                     {"probe_loss", at::stack(losses)},
                     {"probe_bounds", bounds}},
                    {}));
  return outputs.Finish({{"start_epoch_min", range.min},
                         {"start_epoch_initial", range.initial},
                         {"start_epoch_max", range.max},
                         {"probes", probes}});
}

}  // namespace dasm
