#include "worker/engine/matcher/trajectory_matcher.h"

#include <ATen/ATen.h>

#include <utility>

#include "common/base/status_macros.h"

namespace dasm {
namespace {

// So little that memory does not grow with the number of steps.
constexpr int64_t kExchangeBytes = int64_t{8} << 20;

// Rows of gradients on their way from their owners to the sum of each image;
// exchanged together, added in the order in which they were given.
class RowExchange {
 public:
  // `sum` [M, row length].
  RowExchange(const Network* network, int64_t group, const ShardRunner* runner,
              at::Tensor sum)
      : network_(*network),
        group_(group),
        runner_(*runner),
        sum_(std::move(sum)) {}

  absl::Status Add(const at::Tensor& indices, at::Tensor rows) {
    // GatherRows takes batches of one size.
    if (!rows_.empty() && rows_.back().size(0) != rows.size(0)) {
      DASM_RETURN_IF_ERROR(Flush());
    }
    bytes_ += static_cast<int64_t>(rows.nbytes());
    indices_.push_back(indices);
    rows_.push_back(std::move(rows));
    if (runner_.size() > 1 && bytes_ < kExchangeBytes) return absl::OkStatus();
    return Flush();
  }

  absl::Status Flush() {
    DASM_ASSIGN_OR_RETURN(const std::vector<at::Tensor> all,
                          GatherRows(network_, rows_, group_, runner_));
    for (size_t k = 0; k < all.size(); ++k) {
      sum_.index_add_(0, indices_[k], all[k]);
    }
    indices_.clear();
    rows_.clear();
    bytes_ = 0;
    return absl::OkStatus();
  }

 private:
  const Network& network_;
  const int64_t group_;
  const ShardRunner& runner_;
  const at::Tensor sum_;
  std::vector<at::Tensor> indices_;
  std::vector<at::Tensor> rows_;
  int64_t bytes_ = 0;
};

}  // namespace

// What the way there leaves for the way back.
struct TrajectoryMatcher::Walk {
  std::vector<at::Tensor> indices;
  std::vector<at::Tensor> thetas;  // theta_0 .. theta_{N-1}
  std::vector<InnerGraph> graphs;  // with kFullGraph
  at::Tensor end;                  // theta_N
};

TrajectoryMatcher::TrajectoryMatcher(const Network* network, Options options,
                                     StepGraph* graph)
    : network_(network), options_(options), graph_(graph) {}

InnerBatch TrajectoryMatcher::BatchOf(const StudentPath& path, size_t step,
                                      const at::Tensor& indices) const {
  return {path.images.index_select(0, indices),
          path.labels.index_select(0, indices), options_.group,
          path.augmentations.empty() ? nullptr : &path.augmentations[step]};
}

absl::StatusOr<TrajectoryMatcher::Walk> TrajectoryMatcher::WalkForward(
    const StudentPath& path, bool come_back, const ShardRunner& runner) const {
  TORCH_CHECK(path.augmentations.empty() ||
                  path.augmentations.size() == path.batches.size(),
              "a draw of the augmentation a step, or none");
  const bool keep = come_back && options_.estimator == Estimator::kFullGraph;
  Walk walk;
  walk.end = path.start.detach();
  for (size_t i = 0; i < path.batches.size(); ++i) {
    const at::Tensor indices =
        UploadIndices(path.batches[i], path.images.device());
    InnerGraph graph;
    DASM_ASSIGN_OR_RETURN(
        const InnerGradient step,
        GradientOf(*network_, walk.end, BatchOf(path, i, indices), runner,
                   keep ? &graph : nullptr, graph_));
    if (come_back) {
      walk.indices.push_back(indices);
      walk.thetas.push_back(walk.end);
    }
    if (keep) walk.graphs.push_back(std::move(graph));
    walk.end = at::sub(walk.end, step.gradient, path.step_size);
  }
  return walk;
}

absl::StatusOr<MatchingLoss> TrajectoryMatcher::Loss(
    const StudentPath& path, const ShardRunner& runner) const {
  DASM_ASSIGN_OR_RETURN(const Walk walk, WalkForward(path, false, runner));
  return ComputeMatchingLoss(network_->parameters(), options_.mask, path.start,
                             walk.end, path.target);
}

absl::StatusOr<PathGradient> TrajectoryMatcher::Match(
    const StudentPath& path, const ShardRunner& runner) const {
  DASM_ASSIGN_OR_RETURN(Walk walk, WalkForward(path, true, runner));
  const MatchingLoss matching = ComputeMatchingLoss(
      network_->parameters(), options_.mask, path.start, walk.end, path.target);
  PathGradient result;
  result.loss = matching.loss;
  result.layer_share = matching.layer_share;
  result.step_size = at::zeros({}, matching.loss.options());

  const bool soft = path.labels.dim() == 2;
  const int64_t images = path.images.size(0);
  const int64_t image = path.images.numel() / images;
  // Images and label logits side by side: one exchange serves both.
  const at::Tensor sum =
      at::zeros({images, image + (soft ? path.labels.size(1) : 0)},
                path.images.options());
  RowExchange exchange(network_, options_.group, &runner, sum);
  // TESLA's estimator is the walk back with the adjoint of the last step.
  const bool frozen = options_.estimator == Estimator::kTesla;
  at::Tensor lambda = matching.gradient;
  for (size_t i = path.batches.size(); i-- > 0;) {
    const bool needed = !frozen && i > 0;
    DASM_ASSIGN_OR_RETURN(
        const InnerAdjoint adjoint,
        AdjointOf(*network_, walk.thetas[i], BatchOf(path, i, walk.indices[i]),
                  lambda, runner,
                  needed ? ByParameters::kWanted : ByParameters::kNot,
                  walk.graphs.empty() ? nullptr : &walk.graphs[i], graph_));
    result.step_size.sub_(adjoint.product.to(at::kDouble));
    at::Tensor rows = adjoint.image_rows.flatten(1);
    if (soft) rows = at::cat({rows, adjoint.label_rows}, 1);
    DASM_RETURN_IF_ERROR(exchange.Add(walk.indices[i], rows * -path.step_size));
    if (needed) lambda = at::sub(lambda, adjoint.parameters, path.step_size);
    walk.thetas[i] = at::Tensor();
  }
  DASM_RETURN_IF_ERROR(exchange.Flush());
  result.images = sum.narrow(1, 0, image).reshape(path.images.sizes());
  if (soft) result.labels = sum.narrow(1, image, path.labels.size(1)).clone();
  return result;
}

}  // namespace dasm
