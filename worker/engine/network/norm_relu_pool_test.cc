#include "worker/engine/network/norm_relu_pool.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/network/norm_relu_pool_kernel.h"

namespace dasm {
namespace {

constexpr double kEps = 1e-5;

using Operator = at::Tensor (*)(const at::Tensor&, const at::Tensor&,
                                const at::Tensor&, double);

struct Inputs {
  explicit Inputs(at::IntArrayRef shape, at::ScalarType dtype = at::kDouble)
      : maps((TestTensor(shape) + 0.1).to(dtype).requires_grad_()),
        weight(TestTensor({shape[1]}, 0.3).to(dtype).requires_grad_()),
        bias((0.4 * TestTensor({shape[1]}, 0.8)).to(dtype).requires_grad_()) {}
  at::Tensor maps, weight, bias;
};

// The value, its gradients, and those of a function of its gradients, which use
// every path of the second derivative.
std::vector<at::Tensor> AllDerivatives(Operator op, const Inputs& in) {
  const at::Tensor pooled = op(in.maps, in.weight, in.bias, kEps);
  const at::Tensor upstream =
      TestTensor(pooled.sizes(), 0.6).to(pooled.scalar_type()).requires_grad_();
  const std::vector<at::Tensor> inputs = {in.maps, in.weight, in.bias};
  std::vector<at::Tensor> all = {pooled};
  const auto first = torch::autograd::grad({pooled}, inputs, {upstream},
                                           /*retain_graph=*/true,
                                           /*create_graph=*/true);
  all.insert(all.end(), first.begin(), first.end());
  at::Tensor scalar = at::zeros({}, pooled.options());
  for (size_t i = 0; i < first.size(); ++i) {
    scalar = scalar +
             (first[i] *
              TestTensor(first[i].sizes(), 1.0 + i).to(pooled.scalar_type()))
                 .sum();
  }
  const auto second =
      torch::autograd::grad({scalar}, {in.maps, in.weight, upstream});
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

const std::vector<std::vector<int64_t>>& Shapes() {
  // Padded and whole channels, rows and columns that pooling drops, planes of
  // two pixels.
  static const std::vector<std::vector<int64_t>> shapes = {
      {2, 16, 8, 8}, {3, 5, 6, 4},  {2, 8, 7, 6}, {2, 3, 4, 5},
      {1, 9, 5, 7},  {2, 40, 2, 2}, {2, 4, 3, 3}, {1, 72, 4, 2}};
  return shapes;
}

TEST(NormReluPool, HasTheDerivativesOfTorchsOperators) {
  for (const auto& shape : Shapes()) {
    const Inputs in(shape);
    const auto ours = AllDerivatives(NormReluPool, in);
    const auto torchs = AllDerivatives(NormReluPoolOfTorch, in);
    ASSERT_EQ(ours.size(), torchs.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      ASSERT_EQ(ours[i].sizes(), torchs[i].sizes());
      const double scale = std::max(1.0, torchs[i].abs().max().item<double>());
      EXPECT_LT((ours[i] - torchs[i]).abs().max().item<double>(), 1e-12 * scale)
          << "derivative " << i << " of " << in.maps.sizes();
    }
  }
}

TEST(NormReluPool, InSinglePrecisionIsNearDouble) {
  const auto single =
      AllDerivatives(NormReluPool, Inputs({3, 32, 16, 16}, at::kFloat));
  const auto exact = AllDerivatives(NormReluPool, Inputs({3, 32, 16, 16}));
  for (size_t i = 0; i < single.size(); ++i) {
    const double error =
        (single[i].to(at::kDouble) - exact[i]).norm().item<double>();
    // A pixel at 0 may fall on either side; hence the norm.
    EXPECT_LT(error, 1e-4 * exact[i].norm().item<double>()) << i;
  }
}

TEST(NormReluPool, MatchesFiniteDifferences) {
  const Inputs in({2, 5, 5, 6});
  const auto cube = [&](const at::Tensor& maps, const at::Tensor& weight) {
    return NormReluPool(maps, weight, in.bias, kEps).pow(3).sum();
  };
  EXPECT_LT(
      GradientError([&](const at::Tensor& x) { return cube(x, in.weight); },
                    in.maps),
      1e-6);
  EXPECT_LT(GradientError([&](const at::Tensor& x) { return cube(in.maps, x); },
                          in.weight),
            1e-6);
  EXPECT_LT(GradientError(DirectionalDerivative(cube, in.weight), in.maps),
            1e-6);
  const auto of_maps = [&](const at::Tensor& x, const at::Tensor& y) {
    return cube(x * y, in.weight);
  };
  EXPECT_LT(
      GradientError(DirectionalDerivative(of_maps, at::ones_like(in.maps)),
                    in.maps),
      1e-6);
}

TEST(NormReluPool, AMapOfOnePixelHasNothingToPool) {
  const Inputs in({2, 3, 1, 1});
  const at::Tensor pooled = NormReluPool(in.maps, in.weight, in.bias, kEps);
  EXPECT_EQ(pooled.sizes(), (std::vector<int64_t>{2, 3, 0, 0}));
  const at::Tensor by_maps =
      torch::autograd::grad({pooled.sum()}, {in.maps})[0];
  EXPECT_TRUE((by_maps == 0).all().item<bool>());
}

TEST(NormReluPool, AConstantPlaneBecomesItsBias) {
  const at::Tensor maps = at::full({1, 2, 4, 4}, 3.0, at::kDouble);
  const at::Tensor weight = at::ones({2}, at::kDouble);
  const at::Tensor bias = at::tensor({0.75, -0.75}, at::kDouble);
  const at::Tensor pooled = NormReluPool(maps, weight, bias, kEps);
  EXPECT_TRUE((pooled.select(1, 0) == 0.75).all().item<bool>());
  EXPECT_TRUE((pooled.select(1, 1) == 0).all().item<bool>());
}

// What execution groups rest on.
TEST(NormReluPool, AnImageHasItsBitsInEveryBatchAndLayout) {
  const Inputs in({5, 24, 6, 6}, at::kFloat);
  const at::Tensor whole = NormReluPool(in.maps, in.weight, in.bias, kEps);
  const at::Tensor upstream = TestTensor(whole.sizes(), 0.6).to(at::kFloat);
  const at::Tensor by_maps =
      torch::autograd::grad({whole}, {in.maps}, {upstream}, true)[0];
  for (const auto format :
       {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    const at::Tensor one =
        in.maps.detach().narrow(0, 3, 1).contiguous(format).requires_grad_();
    const at::Tensor pooled = NormReluPool(one, in.weight, in.bias, kEps);
    EXPECT_TRUE(pooled.equal(whole.narrow(0, 3, 1)));
    EXPECT_TRUE(
        torch::autograd::grad({pooled}, {one}, {upstream.narrow(0, 3, 1)})[0]
            .equal(by_maps.narrow(0, 3, 1)));
  }
  const at::NoGradGuard no_autograd;
  EXPECT_TRUE(NormReluPool(in.maps, in.weight, in.bias, kEps).equal(whole));
}

TEST(NormReluPool, ANotANumberIsNotHidden) {
  const Inputs in({1, 16, 4, 4}, at::kFloat);
  at::Tensor maps = in.maps.detach().clone();
  maps[0][3][1][2] = std::numeric_limits<float>::quiet_NaN();
  const at::Tensor pooled = NormReluPool(maps, in.weight, in.bias, kEps);
  EXPECT_TRUE(pooled.select(1, 3).isnan().all().item<bool>());
  EXPECT_FALSE(pooled.select(1, 4).isnan().any().item<bool>());
}

TEST(NormReluPool, RefusesAThirdDerivative) {
  const Inputs in({1, 4, 4, 4});
  const at::Tensor pooled = NormReluPool(in.maps, in.weight, in.bias, kEps);
  const at::Tensor first = torch::autograd::grad({pooled.pow(2).sum()},
                                                 {in.maps}, {}, true, true)[0];
  EXPECT_THROW(torch::autograd::grad({first.pow(2).sum()}, {in.maps}, {}, true,
                                     /*create_graph=*/true),
               c10::Error);
}

// Results of all three kernels, computed with one vector width.
std::vector<float> KernelResults(VectorWidth width) {
  const MapShape shape = {2, 5, 6, 48};
  const Inputs in({2, 48, 5, 6}, at::kFloat);
  const auto pixels = [](at::IntArrayRef sizes, double phase) {
    return TestTensor(sizes, phase).to(at::kFloat);
  };
  const at::Tensor maps = in.maps.detach().permute({0, 2, 3, 1}).contiguous();
  const at::Tensor gradient = pixels({2, 2, 3, 48}, 0.6);
  const at::Tensor cotangent = pixels({2, 5, 6, 48}, 0.7);
  const at::Tensor of_weight = pixels({48}, 1.1), of_bias = pixels({48}, 1.2);
  const auto mean = at::empty({2, 48}), rstd = at::empty({2, 48});
  const auto pooled = at::empty({2, 2, 3, 48});
  const auto first = at::empty({2, 5, 6, 48});
  const auto first_weight = at::zeros({48}), first_bias = at::zeros({48});
  const auto second = at::empty({2, 2, 3, 48});
  const auto second_maps = at::empty({2, 5, 6, 48});
  const auto second_weight = at::zeros({48});
  const auto in_of = [](const at::Tensor& t) {
    return t.const_data_ptr<float>();
  };
  const auto out_of = [](const at::Tensor& t) {
    return t.mutable_data_ptr<float>();
  };
  Compute(width, NormReluPoolForward<float>{shape, 1e-5f, in_of(maps),
                                            in_of(in.weight), in_of(in.bias),
                                            out_of(pooled), out_of(mean),
                                            out_of(rstd)});
  Compute(width, NormReluPoolBackward<float>{
                     shape, in_of(gradient), in_of(maps), in_of(mean),
                     in_of(rstd), in_of(in.weight), in_of(in.bias),
                     out_of(first), out_of(first_weight), out_of(first_bias)});
  Compute(width, NormReluPoolDoubleBackward<float>{
                     shape, in_of(cotangent), in_of(of_weight), in_of(of_bias),
                     in_of(gradient), in_of(maps), in_of(mean), in_of(rstd),
                     in_of(in.weight), in_of(in.bias), out_of(second),
                     out_of(second_maps), out_of(second_weight)});
  const at::Tensor all =
      at::cat({pooled.flatten(), mean.flatten(), rstd.flatten(),
               first.flatten(), first_weight, first_bias, second.flatten(),
               second_maps.flatten(), second_weight});
  return {all.const_data_ptr<float>(),
          all.const_data_ptr<float>() + all.numel()};
}

TEST(NormReluPool, EveryInstructionSetGivesTheSameBits) {
  const std::vector<float> expected = KernelResults(VectorWidth::k16Bytes);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) {
    EXPECT_EQ(KernelResults(VectorWidth::kAvx2), expected);
  }
  if (__builtin_cpu_supports("avx512f")) {
    EXPECT_EQ(KernelResults(VectorWidth::kAvx512), expected);
  }
#endif
  EXPECT_EQ(expected.size(), KernelResults(VectorWidth::k16Bytes).size());
}

}  // namespace
}  // namespace dasm
