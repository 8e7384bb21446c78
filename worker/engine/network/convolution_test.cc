#include "worker/engine/network/convolution.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/network/finite_differences.h"

namespace dasm {
namespace {

at::Tensor TorchsConvolution(const at::Tensor& x, const at::Tensor& w,
                             const at::Tensor& bias, int64_t padding,
                             int64_t stride = 1) {
  return at::conv2d(x, w, bias, at::IntArrayRef({stride, stride}),
                    at::IntArrayRef({padding, padding}));
}

at::Tensor OurConvolution(const at::Tensor& x, const at::Tensor& w,
                          const at::Tensor& bias, int64_t padding,
                          int64_t stride) {
  return Convolution(x, w, bias, padding, BiasGradient::kComputed, stride);
}

// The value, its gradients, the gradients of a function of those, and once
// more.
std::vector<at::Tensor> ThreeDerivatives(decltype(&TorchsConvolution) op,
                                         int64_t channels, int64_t padding,
                                         int64_t stride) {
  const std::vector<at::Tensor> in = {
      TestTensor({2, channels, 5, 6}).requires_grad_(),
      TestTensor({4, channels, 3, 3}, 0.3).requires_grad_(),
      TestTensor({4}, 0.5).requires_grad_()};
  std::vector<at::Tensor> all = {op(in[0], in[1], in[2], padding, stride)};
  at::Tensor scalar = all[0].pow(4).sum();
  for (int order = 1; order <= 3; ++order) {
    const auto gradients =
        torch::autograd::grad({scalar}, in, {}, true, /*create_graph=*/true);
    scalar = at::zeros({}, at::kDouble);
    for (size_t i = 0; i < gradients.size(); ++i) {
      all.push_back(gradients[i].detach());
      scalar = scalar +
               (gradients[i] * TestTensor(gradients[i].sizes(), 1.0 + i)).sum();
    }
  }
  return all;
}

TEST(Convolution, HasTheDerivativesOfTorchs) {
  for (const int64_t channels : {1, 3}) {
    for (const auto& [padding, stride] :
         {std::pair(0, 1), std::pair(1, 1), std::pair(3, 1), std::pair(1, 2),
          std::pair(0, 2)}) {
      const auto ours =
          ThreeDerivatives(OurConvolution, channels, padding, stride);
      const auto torchs =
          ThreeDerivatives(TorchsConvolution, channels, padding, stride);
      ASSERT_EQ(ours.size(), torchs.size());
      for (size_t i = 0; i < ours.size(); ++i) {
        const double scale =
            std::max(1.0, torchs[i].abs().max().item<double>());
        EXPECT_LT((ours[i] - torchs[i]).abs().max().item<double>(),
                  1e-12 * scale)
            << "derivative " << i << ", padding " << padding << ", stride "
            << stride;
      }
    }
  }
}

TEST(Convolution, ComputesTheGradientOfTheWeightsAlone) {
  const at::Tensor x = TestTensor({2, 3, 5, 5});
  const at::Tensor w = TestTensor({4, 3, 3, 3}, 0.3).requires_grad_();
  const at::Tensor bias = TestTensor({4}, 0.5);
  const auto cube = [&](const at::Tensor& weights) {
    return Convolution(x, weights, bias, 1).pow(3).sum();
  };
  EXPECT_LT(GradientError(cube, w), 1e-7);
}

TEST(Convolution, ABiasWithoutEffectHasNoGradient) {
  const at::Tensor x = TestTensor({2, 3, 5, 5});
  const at::Tensor w = TestTensor({4, 3, 3, 3}, 0.3).requires_grad_();
  const at::Tensor bias = TestTensor({4}, 0.5).requires_grad_();
  for (const bool create_graph : {false, true}) {
    const at::Tensor y = Convolution(x, w, bias, 1, BiasGradient::kZero);
    EXPECT_TRUE(y.equal(TorchsConvolution(x, w, bias, 1)));
    const auto gradients = torch::autograd::grad({y.pow(2).sum()}, {w, bias},
                                                 {}, true, create_graph);
    EXPECT_GT(gradients[0].norm().item<double>(), 1);
    EXPECT_EQ(gradients[1].sizes(), bias.sizes());
    EXPECT_EQ(gradients[1].norm().item<double>(), 0);
  }
}

TEST(Convolution, GoesWithoutABias) {
  const at::Tensor x = TestTensor({2, 3, 5, 5}).requires_grad_();
  const at::Tensor w = TestTensor({4, 3, 3, 3}, 0.3).requires_grad_();
  const at::Tensor zero = at::zeros({4}, at::kDouble);
  const at::Tensor y = Convolution(x, w, {}, 1);
  const at::Tensor same = TorchsConvolution(x, w, zero, 1);
  EXPECT_TRUE(y.allclose(same, 1e-12, 1e-12));
  const auto ours = torch::autograd::grad({y.pow(3).sum()}, {x, w});
  const auto torchs = torch::autograd::grad({same.pow(3).sum()}, {x, w});
  EXPECT_TRUE(ours[0].allclose(torchs[0], 1e-10, 1e-10));
  EXPECT_TRUE(ours[1].allclose(torchs[1], 1e-10, 1e-10));
}

TEST(Convolution, WithoutGradientsIsPlain) {
  const at::Tensor x = TestTensor({2, 3, 5, 5});
  const at::Tensor w = TestTensor({4, 3, 3, 3}, 0.3).requires_grad_();
  const at::Tensor bias = TestTensor({4}, 0.5);
  const at::NoGradGuard no_autograd;
  const at::Tensor y = Convolution(x, w, bias, 1);
  EXPECT_FALSE(y.requires_grad());
  EXPECT_TRUE(y.equal(TorchsConvolution(x, w, bias, 1)));
}

}  // namespace
}  // namespace dasm
