#include "worker/engine/matcher/distance.h"

#include <ATen/ATen.h>

namespace dasm {
namespace {

at::Tensor TensorDistance(Distance distance, const at::Tensor& a,
                          const at::Tensor& b) {
  switch (distance) {
    case Distance::kL1:
      return (a - b).abs().sum();
    case Distance::kMse:
      return (a - b).square().sum();
    case Distance::kCosine: {
      const at::Tensor rows_a = a.flatten(1);
      const at::Tensor rows_b = b.flatten(1);
      const at::Tensor product = (rows_a * rows_b).sum(1);
      const at::Tensor norms =
          at::norm(rows_a, 2, {1}) * at::norm(rows_b, 2, {1});
      return (1 - product / (norms + 1e-6)).sum();
    }
  }
  TORCH_CHECK(false, "unknown distance");
}

}  // namespace

bool IsMatched(Layers layers, int64_t dimensions) {
  switch (layers) {
    case Layers::kConvolutions:
      return dimensions == 4;
    case Layers::kWeights:
      return dimensions > 1;
    case Layers::kAll:
      return true;
  }
  return false;
}

bool IsCompared(Distance distance, int64_t dimensions) {
  return distance != Distance::kCosine || dimensions >= 2;
}

at::Tensor GradientDistance(Distance distance, const std::vector<at::Tensor>& a,
                            const std::vector<at::Tensor>& b) {
  TORCH_CHECK(a.size() == b.size(), "gradient lists of different lengths");
  at::Tensor sum;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!IsCompared(distance, a[i].dim())) continue;
    const at::Tensor one = TensorDistance(distance, a[i], b[i]);
    sum = sum.defined() ? sum + one : one;
  }
  TORCH_CHECK(sum.defined(), "no gradient to compare");
  return sum;
}

}  // namespace dasm
