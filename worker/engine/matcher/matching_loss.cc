#include "worker/engine/matcher/matching_loss.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace dasm {
namespace {

int64_t CountOf(double share, int64_t of) {
  return static_cast<int64_t>(std::floor(share * static_cast<double>(of)));
}

// 1 where kept, 0 where masked; undefined where nothing is.
at::Tensor Kept(const ParameterMask& mask, const at::Tensor& errors) {
  const int64_t total = errors.numel();
  const int64_t from = CountOf(mask.from, total);
  const int64_t to = CountOf(mask.to, total);
  const bool has_range = to > from;
  if (!has_range && mask.smallest <= 0) return {};
  at::Tensor kept = at::ones_like(errors);
  if (has_range) kept.narrow(0, from, to - from).zero_();
  const int64_t others = total - (has_range ? to - from : 0);
  const int64_t smallest = CountOf(mask.smallest, others);
  if (smallest > 0) {
    // Errors are not negative: what the range drops sorts in front.
    const at::Tensor order = std::get<1>(
        at::where(kept > 0, errors, at::full_like(errors, -1))
            .sort(/*stable=*/true, /*dim=*/0, /*descending=*/false));
    kept.index_fill_(0, order.narrow(0, total - others, smallest), 0);
  }
  return kept;
}

}  // namespace

MatchingLoss ComputeMatchingLoss(const ParameterLayout& layout,
                                 const ParameterMask& mask,
                                 const at::Tensor& start, const at::Tensor& end,
                                 const at::Tensor& target) {
  const at::Tensor goal = target.detach().to(at::kDouble);
  at::Tensor difference = end.detach().to(at::kDouble) - goal;
  at::Tensor moved = start.detach().to(at::kDouble) - goal;
  if (const at::Tensor kept = Kept(mask, difference.square()); kept.defined()) {
    // Not a product, which would keep a NaN that is masked.
    difference = at::where(kept > 0, difference, at::zeros_like(difference));
    moved = at::where(kept > 0, moved, at::zeros_like(moved));
  }
  const at::Tensor errors = difference.square();
  std::vector<at::Tensor> by_layer;
  for (const ParameterLayout::Entry& entry : layout.entries()) {
    by_layer.push_back(errors.narrow(0, entry.offset, entry.size).sum());
  }
  const at::Tensor layers = at::stack(by_layer);
  const at::Tensor error = layers.sum();
  const at::Tensor distance = moved.square().sum();
  MatchingLoss result;
  result.loss = error / distance;
  result.gradient = (difference * (2 / distance)).to(end.scalar_type());
  result.layer_share = layers / error;
  return result;
}

}  // namespace dasm
