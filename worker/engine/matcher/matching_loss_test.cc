#include "worker/engine/matcher/matching_loss.h"

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"
#include "worker/engine/network/finite_differences.h"

namespace dasm {
namespace {

ParameterLayout Layout() {
  ParameterLayout layout;
  layout.Add("a", {4});
  layout.Add("b", {2, 3});
  return layout;
}

const at::Tensor kStart =
    at::tensor({0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, at::kDouble);
const at::Tensor kTarget =
    at::tensor({1, 1, 1, 1, 2, 2, 2, 2, 2, 2}, at::kDouble);
// Errors 1, 0, 4, 9 and 4, 4, 4, 0, 1, 4.
const at::Tensor kEnd = at::tensor({2, 1, 3, 4, 4, 4, 0, 2, 1, 0}, at::kDouble);

MatchingLoss LossOf(const ParameterMask& mask, const at::Tensor& end = kEnd) {
  return ComputeMatchingLoss(Layout(), mask, kStart, end, kTarget);
}

TEST(MatchingLoss, IsTheErrorOverTheExpertsOwnDistance) {
  const MatchingLoss loss = LossOf({});
  EXPECT_DOUBLE_EQ(loss.loss.item<double>(), 31.0 / 28.0);
  EXPECT_NEAR(loss.layer_share[0].item<double>(), 14.0 / 31.0, 1e-15);
  EXPECT_NEAR(loss.layer_share[1].item<double>(), 17.0 / 31.0, 1e-15);
  EXPECT_DOUBLE_EQ(LossOf({}, kTarget).loss.item<double>(), 0);
  EXPECT_DOUBLE_EQ(LossOf({}, kStart).loss.item<double>(), 1);
}

TEST(MatchingLoss, GradientIsItsDerivativeByTheEnd) {
  // No two errors alike: where they are, the smallest ones jump.
  const at::Tensor end = kTarget + at::arange(1, 11, at::kDouble) / 4;
  for (const ParameterMask& mask :
       {ParameterMask{}, ParameterMask{0.2, 0.65, 0}, ParameterMask{0, 0, 0.5},
        ParameterMask{0.5, 1, 0.4}}) {
    const MatchingLoss loss = LossOf(mask, end);
    for (int64_t j = 0; j < end.numel(); ++j) {
      at::Tensor above = end.clone(), below = end.clone();
      above[j] += 1e-6;
      below[j] -= 1e-6;
      const double numeric = (LossOf(mask, above).loss.item<double>() -
                              LossOf(mask, below).loss.item<double>()) /
                             2e-6;
      EXPECT_NEAR(loss.gradient[j].item<double>(), numeric, 1e-6) << j;
    }
  }
}

TEST(MatchingLoss, RangeLeavesOutFromFloorToFloorInBothSums) {
  // Of 10 parameters: 2 .. 5.
  const ParameterMask mask = {0.29, 0.61, 0};
  EXPECT_DOUBLE_EQ(LossOf(mask).loss.item<double>(),
                   (1.0 + 4 + 0 + 1 + 4) / (2 + 4 * 4));
  // PAD's first quarter, and a range that reaches the end.
  EXPECT_DOUBLE_EQ(LossOf({0, 0.25, 0}).loss.item<double>(), 30.0 / 26);
  EXPECT_DOUBLE_EQ(LossOf({0.8, 1, 0}).loss.item<double>(), 26.0 / 20);
  const at::Tensor gradient = LossOf({0, 0.4, 0}).gradient;
  EXPECT_EQ(gradient.narrow(0, 0, 4).abs().max().item<double>(), 0);
  EXPECT_GT(gradient.narrow(0, 4, 6).abs().max().item<double>(), 0);
}

TEST(MatchingLoss, IgnoresWhatIsMaskedWhateverItIs) {
  at::Tensor end = kEnd.clone();
  end[1] = 1000.0;
  EXPECT_TRUE(LossOf({0, 0.4, 0}, end).loss.equal(LossOf({0, 0.4, 0}).loss));
  end[1] = std::nan("");
  const MatchingLoss loss = LossOf({0, 0.4, 0}, end);
  EXPECT_TRUE(loss.loss.equal(LossOf({0, 0.4, 0}).loss));
  EXPECT_EQ(loss.gradient[1].item<double>(), 0);
}

TEST(MatchingLoss, SmallestErrorsAreThoseOfTheRest) {
  // floor(0.3 * 10) smallest: errors 0, 0 and the first 1 (parameter 0).
  EXPECT_DOUBLE_EQ(LossOf({0, 0, 0.3}).loss.item<double>(),
                   30.0 / (28 - 1 - 4 - 1));
  // Of the six of "b": floor(0.5 * 6) smallest are 0, 1 and the first 4.
  EXPECT_DOUBLE_EQ(LossOf({0, 0.4, 0.5}).loss.item<double>(), 12.0 / 12);
}

TEST(MatchingLoss, MasksOfNothingChangeNoBit) {
  const at::Tensor end = TestTensor({10}).to(at::kFloat);
  const auto with = ComputeMatchingLoss(
      Layout(), {0, 0, 0}, kStart.to(at::kFloat), end, kTarget.to(at::kFloat));
  const auto rounded =
      ComputeMatchingLoss(Layout(), {0.3, 0.35, 0.05}, kStart.to(at::kFloat),
                          end, kTarget.to(at::kFloat));
  EXPECT_EQ(with.gradient.scalar_type(), at::kFloat);
  EXPECT_TRUE(with.loss.equal(rounded.loss));
  EXPECT_TRUE(with.gradient.equal(rounded.gradient));
}

TEST(MatchingLoss, SumsSmallDifferencesOfLargeParametersInDoublePrecision) {
  ParameterLayout layout;
  layout.Add("a", {100000});
  const at::Tensor start = at::full({100000}, 1.0f);
  const at::Tensor target = start + 1e-4f;
  const at::Tensor end = start + 5e-5f;
  const double step = (target - start)[0].item<float>();
  const double error = static_cast<double>(target[0].item<float>()) -
                       static_cast<double>(end[0].item<float>());
  EXPECT_NEAR(
      ComputeMatchingLoss(layout, {}, start, end, target).loss.item<double>(),
      error * error / (step * step), 1e-12);
}

TEST(MatchingLoss, IsNotFiniteWhereTheExpertStoodStill) {
  EXPECT_FALSE(
      std::isfinite(ComputeMatchingLoss(Layout(), {}, kTarget, kEnd, kTarget)
                        .loss.item<double>()));
}

}  // namespace
}  // namespace dasm
