#include "worker/engine/update/momentum_sgd.h"

#include <ATen/ATen.h>

#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(MomentumSgd, FirstStepIsTheGradientAndLaterOnesKeepAShareOfTheLast) {
  const MomentumSgd sgd = {0.5, 0.25};
  at::Tensor value = at::full({2}, 1.0);
  at::Tensor velocity = at::zeros({2});
  sgd.Step(at::full({2}, 2.0), &value, &velocity);
  EXPECT_TRUE(value.equal(at::zeros({2})));
  sgd.Step(at::full({2}, 4.0), &value, &velocity);
  // v = 0.25 * 2 + 4.
  EXPECT_TRUE(velocity.equal(at::full({2}, 4.5)));
  EXPECT_TRUE(value.equal(at::full({2}, -2.25)));
}

}  // namespace
}  // namespace dasm
