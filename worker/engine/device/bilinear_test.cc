#include "worker/engine/device/bilinear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace dasm {
namespace {

using Operator = std::function<at::Tensor(const at::Tensor&)>;

// Values and derivatives of both.
void ExpectSame(const at::Tensor& images, const Operator& a,
                const Operator& b) {
  std::vector<at::Tensor> results;
  for (const Operator& op : {a, b}) {
    const at::Tensor leaf = images.detach().requires_grad_();
    const at::Tensor out = op(leaf);
    results.push_back(out.detach());
    results.push_back(torch::autograd::grad({out.pow(3).sum()}, {leaf})[0]);
  }
  EXPECT_TRUE(results[2].allclose(results[0], 1e-10, 1e-10));
  EXPECT_TRUE(results[3].allclose(results[1], 1e-10, 1e-10));
}

TEST(ResizeBilinear, ByGathersIsTorchsOwn) {
  at::manual_seed(1);
  const at::Tensor images = at::randn({2, 3, 5, 4}, at::kDouble);
  for (const auto& [height, width] :
       {std::pair(10, 8), std::pair(5, 4), std::pair(9, 7), std::pair(3, 2)}) {
    ExpectSame(
        images,
        [&](const at::Tensor& x) { return ResizeBilinear(x, height, width); },
        [&](const at::Tensor& x) { return ResizeByGathers(x, height, width); });
  }
  const at::Tensor one = at::randn({1, 1, 1, 1}, at::kDouble);
  EXPECT_TRUE(ResizeByGathers(one, 2, 3).allclose(one.expand({1, 1, 2, 3})));
}

}  // namespace
}  // namespace dasm
