// The device's arithmetic, run on the host against torch's own operators.
#include "worker/cuda/norm_relu_pool_plane.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <tuple>
#include <vector>

#include "gtest/gtest.h"

namespace dasm {
namespace {

constexpr double kEps = 1e-5;

at::Tensor Nhwc(const at::Tensor& maps) {
  return maps.contiguous(at::MemoryFormat::ChannelsLast);
}

PlaneShape ShapeOf(const at::Tensor& maps) {
  return {static_cast<int>(maps.size(0)), static_cast<int>(maps.size(1)),
          static_cast<int>(maps.size(2)), static_cast<int>(maps.size(3))};
}

at::Tensor OfTorch(const at::Tensor& maps, const at::Tensor& weight,
                   const at::Tensor& bias) {
  const int64_t two[] = {2, 2};
  return at::avg_pool2d(
      at::group_norm(maps, maps.size(1), weight, bias, kEps).relu(), two, two);
}

template <typename Call>
void RunAll(const Call& call) {
  for (int n = 0; n < call.shape.images; ++n) {
    for (int c = 0; c < call.shape.channels; ++c) {
      RunPlane(call, TeamOfOne(), n, c, /*store=*/true);
      // Of a thread beyond the last channel: it must leave no trace.
      RunPlane(call, TeamOfOne(), n, c, /*store=*/false);
    }
  }
}

at::Tensor Maps(const at::Tensor& like, int64_t height, int64_t width) {
  return at::full({like.size(0), like.size(1), height, width}, -77.0,
                  like.options())
      .contiguous(at::MemoryFormat::ChannelsLast);
}

bool Close(const at::Tensor& a, const at::Tensor& b) {
  return at::allclose(a, b, 1e-9, 1e-10);
}

class NormReluPoolPlane : public testing::TestWithParam<std::tuple<int, int>> {
};

TEST_P(NormReluPoolPlane, AgreesWithTorchToTheSecondDerivative) {
  const auto [height, width] = GetParam();
  at::manual_seed(height * 31 + width);
  const auto options = at::TensorOptions(at::kDouble);
  const at::Tensor x =
      Nhwc(at::randn({3, 5, height, width}, options)).requires_grad_();
  const at::Tensor w = (at::randn({5}, options) + 0.5).requires_grad_();
  const at::Tensor b = at::randn({5}, options).requires_grad_();
  const at::Tensor expected = OfTorch(x.contiguous(), w, b);
  const at::Tensor g =
      Nhwc(at::randn(expected.sizes(), options)).requires_grad_();
  const auto first =
      torch::autograd::grad({expected}, {x, w, b}, {g}, true, true);
  const at::Tensor of_x = Nhwc(at::randn(x.sizes(), options));
  const at::Tensor of_w = at::randn({5}, options);
  const at::Tensor of_b = at::randn({5}, options);
  const auto second =
      torch::autograd::grad(first, {g, x, w}, {of_x, of_w, of_b}, true, false);

  const PlaneShape shape = ShapeOf(x);
  const at::Tensor pooled = Maps(x, height / 2, width / 2);
  const at::Tensor mean = at::empty({3, 5}, options);
  const at::Tensor rstd = at::empty({3, 5}, options);
  const auto in = [](const at::Tensor& t) {
    return t.const_data_ptr<double>();
  };
  const auto out = [](const at::Tensor& t) {
    return t.mutable_data_ptr<double>();
  };
  RunAll(PlaneForward<double>{shape, kEps, in(x), in(w), in(b), out(pooled),
                              out(mean), out(rstd)});
  EXPECT_TRUE(Close(pooled, expected));

  const at::Tensor by_x = Maps(x, height, width);
  const at::Tensor by_w = at::empty({3, 5}, options);
  const at::Tensor by_b = at::empty({3, 5}, options);
  RunAll(PlaneBackward<double>{shape, in(g), in(x), in(mean), in(rstd), in(w),
                               in(b), out(by_x), out(by_w), out(by_b)});
  EXPECT_TRUE(Close(by_x, first[0]));
  EXPECT_TRUE(Close(by_w.sum(0), first[1]));
  EXPECT_TRUE(Close(by_b.sum(0), first[2]));

  const at::Tensor by_g = Maps(x, height / 2, width / 2);
  const at::Tensor again_x = Maps(x, height, width);
  const at::Tensor again_w = at::empty({3, 5}, options);
  RunAll(PlaneDoubleBackward<double>{shape, in(of_x), in(of_w), in(of_b), in(g),
                                     in(x), in(mean), in(rstd), in(w), in(b),
                                     out(by_g), out(again_x), out(again_w)});
  EXPECT_TRUE(Close(by_g, second[0]));
  EXPECT_TRUE(Close(again_x, second[1]));
  EXPECT_TRUE(Close(again_w.sum(0), second[2]));

  // Absent cotangents are zeros.
  const at::Tensor zeros = Nhwc(at::zeros_like(x));
  const at::Tensor none = at::zeros({5}, options);
  RunAll(PlaneDoubleBackward<double>{
      shape, in(zeros), in(none), in(of_b), in(g), in(x), in(mean), in(rstd),
      in(w), in(b), out(by_g), out(again_x), out(again_w)});
  const at::Tensor by_g_absent = Maps(x, height / 2, width / 2);
  const at::Tensor x_absent = Maps(x, height, width);
  RunAll(PlaneDoubleBackward<double>{
      shape, nullptr, nullptr, in(of_b), in(g), in(x), in(mean), in(rstd),
      in(w), in(b), out(by_g_absent), out(x_absent), out(again_w)});
  EXPECT_TRUE(by_g_absent.equal(by_g));
  EXPECT_TRUE(x_absent.equal(again_x));
}

INSTANTIATE_TEST_SUITE_P(Sizes, NormReluPoolPlane,
                         testing::Values(std::tuple(8, 8), std::tuple(7, 5),
                                         std::tuple(4, 9), std::tuple(2, 2)));

TEST(NormReluPoolPlane, ANanStaysOne) {
  EXPECT_TRUE(std::isnan(PlaneRelu(std::nan(""))));
  EXPECT_EQ(PlaneRelu(-1.0), 0.0);
  EXPECT_EQ(PlaneRelu(2.0), 2.0);
}

}  // namespace
}  // namespace dasm
