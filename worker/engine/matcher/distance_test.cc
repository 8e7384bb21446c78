#include "worker/engine/matcher/distance.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "gtest/gtest.h"

namespace dasm {
namespace {

at::Tensor Values(at::IntArrayRef shape, double phase) {
  int64_t count = 1;
  for (int64_t side : shape) count *= side;
  return at::sin(at::arange(count, at::kDouble) * 1.7 + phase).view(shape);
}

// A convolution, a bias and a linear layer.
std::vector<at::Tensor> Gradients(double phase) {
  return {Values({3, 2, 3, 3}, phase), Values({3}, phase + 1),
          Values({2, 5}, phase + 2)};
}

TEST(IsMatched, FollowsTheNumberOfDimensions) {
  EXPECT_TRUE(IsMatched(Layers::kConvolutions, 4));
  EXPECT_FALSE(IsMatched(Layers::kConvolutions, 2));
  EXPECT_FALSE(IsMatched(Layers::kConvolutions, 1));
  EXPECT_TRUE(IsMatched(Layers::kWeights, 4));
  EXPECT_TRUE(IsMatched(Layers::kWeights, 2));
  EXPECT_FALSE(IsMatched(Layers::kWeights, 1));
  EXPECT_TRUE(IsMatched(Layers::kAll, 1));
}

TEST(GradientDistance, IsTheSumByTheDefinition) {
  const std::vector<at::Tensor> a = Gradients(0), b = Gradients(0.4);
  double l1 = 0, mse = 0, cosine = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const int64_t rows = a[i].size(0), length = a[i].numel() / rows;
    const double* p = a[i].data_ptr<double>();
    const double* q = b[i].data_ptr<double>();
    for (int64_t r = 0; r < rows; ++r) {
      double dot = 0, pp = 0, qq = 0;
      for (int64_t k = 0; k < length; ++k, ++p, ++q) {
        l1 += std::abs(*p - *q);
        mse += (*p - *q) * (*p - *q);
        dot += *p * *q;
        pp += *p * *p;
        qq += *q * *q;
      }
      if (a[i].dim() > 1) {
        cosine += 1 - dot / (std::sqrt(pp) * std::sqrt(qq) + 1e-6);
      }
    }
  }
  EXPECT_NEAR(GradientDistance(Distance::kL1, a, b).item<double>(), l1, 1e-12);
  EXPECT_NEAR(GradientDistance(Distance::kMse, a, b).item<double>(), mse,
              1e-12);
  EXPECT_NEAR(GradientDistance(Distance::kCosine, a, b).item<double>(), cosine,
              1e-12);
}

TEST(GradientDistance, OfEqualGradientsIsZero) {
  const std::vector<at::Tensor> a = Gradients(0);
  EXPECT_EQ(GradientDistance(Distance::kL1, a, a).item<double>(), 0);
  EXPECT_EQ(GradientDistance(Distance::kMse, a, a).item<double>(), 0);
  // 1e-6 beside a product of norms of order 1, in 5 rows.
  EXPECT_NEAR(GradientDistance(Distance::kCosine, a, a).item<double>(), 0,
              5e-6);
}

TEST(GradientDistance, CosineOfADeadRowIsOneAndItsDerivativeFinite) {
  at::Tensor dead = at::zeros({1, 4}, at::kDouble).requires_grad_();
  const at::Tensor distance =
      GradientDistance(Distance::kCosine, {dead}, {at::ones_like(dead)});
  EXPECT_EQ(distance.item<double>(), 1);
  const at::Tensor derivative = torch::autograd::grad({distance}, {dead})[0];
  EXPECT_TRUE(derivative.isfinite().all().item<bool>());
}

TEST(GradientDistance, DerivativeAgreesWithFiniteDifferences) {
  const std::vector<at::Tensor> b = Gradients(0.4);
  for (Distance distance : {Distance::kL1, Distance::kMse, Distance::kCosine}) {
    std::vector<at::Tensor> a = Gradients(0);
    for (at::Tensor& tensor : a) tensor.requires_grad_();
    const auto exact = torch::autograd::grad({GradientDistance(distance, a, b)},
                                             a, {}, c10::nullopt, false,
                                             /*allow_unused=*/true);
    at::NoGradGuard no_grad;
    for (size_t i = 0; i < a.size(); ++i) {
      for (int64_t k = 0; k < a[i].numel(); ++k) {
        constexpr double kStep = 1e-5;
        double* value = a[i].data_ptr<double>() + k;
        const double at = *value;
        *value = at + kStep;
        const double above = GradientDistance(distance, a, b).item<double>();
        *value = at - kStep;
        const double below = GradientDistance(distance, a, b).item<double>();
        *value = at;
        const double want =
            exact[i].defined() ? exact[i].data_ptr<double>()[k] : 0.0;
        // Truncation ~ step^2, rounding ~ 1e-15 * value / step.
        EXPECT_NEAR((above - below) / (2 * kStep), want, 1e-8);
      }
    }
  }
}

}  // namespace
}  // namespace dasm
