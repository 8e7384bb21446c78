#include "worker/engine/augmentation/cutmix.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/network/finite_differences.h"

namespace dasm {
namespace {

constexpr ImageShape kTallShape = {3, 16, 12};

TEST(CutMix, LabelWeightIsTheAreaOutsideTheClippedBox) {
  bool clipped = false;
  double mean_weight = 0;
  constexpr int kDraws = 2000;
  for (uint32_t a = 0; a < kDraws; ++a) {
    const CutMixDraw draw =
        DrawCutMix(1, RandomStream(1, "test"), a, 0, 4, kTallShape);
    ASSERT_TRUE(draw.active);
    ASSERT_LE(0, draw.top);
    ASSERT_LE(draw.top, draw.bottom);
    ASSERT_LE(draw.bottom, 16);
    ASSERT_LE(0, draw.left);
    ASSERT_LE(draw.left, draw.right);
    ASSERT_LE(draw.right, 12);
    const double area = (draw.bottom - draw.top) * (draw.right - draw.left);
    EXPECT_DOUBLE_EQ(draw.own_weight, 1 - area / (16 * 12));
    // Unclipped sides are even.
    clipped |= (draw.bottom - draw.top) % 2 == 1;
    mean_weight += draw.own_weight / kDraws;
  }
  EXPECT_TRUE(clipped);
  // Lambda is uniform, so unclipped boxes would leave one half; clipping and
  // rounding leave more.
  EXPECT_GT(mean_weight, 0.6);
  EXPECT_LT(mean_weight, 0.8);
}

TEST(CutMix, HappensAsOftenAsAsked) {
  int active = 0;
  for (uint32_t a = 0; a < 1000; ++a) {
    active +=
        DrawCutMix(0.5, RandomStream(1, "test"), a, 0, 4, kTallShape).active;
  }
  EXPECT_NEAR(active, 500, 60);
  EXPECT_FALSE(
      DrawCutMix(0, RandomStream(1, "test"), 0, 0, 4, kTallShape).active);
}

TEST(CutMix, PastesThePartnersBox) {
  const at::Tensor images = TestTensor({4, 3, 16, 12});
  CutMixDraw draw;
  uint32_t a = 0;
  do {
    draw = DrawCutMix(1, RandomStream(1, "test"), a++, 0, 4, kTallShape);
  } while (draw.own_weight > 0.8);
  std::vector<int64_t> sorted = draw.partner;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, (std::vector<int64_t>{0, 1, 2, 3}));

  const at::Tensor partners =
      images.index_select(0, at::tensor(draw.partner, at::kLong));
  const at::Tensor mixed = ApplyCutMix(images, partners, draw.Box(kTallShape));
  at::Tensor inside = at::zeros({16, 12}, at::kBool);
  inside.narrow(0, draw.top, draw.bottom - draw.top)
      .narrow(1, draw.left, draw.right - draw.left)
      .fill_(true);
  EXPECT_TRUE(mixed.equal(at::where(inside, partners, images)));
  EXPECT_TRUE(images.equal(TestTensor({4, 3, 16, 12})));
  EXPECT_TRUE(ApplyCutMix(images, partners, CutMixDraw().Box(kTallShape))
                  .equal(images));
  const at::Tensor weights = draw.Weights();
  EXPECT_FLOAT_EQ(weights[0].item<float>(), draw.own_weight);
  EXPECT_FLOAT_EQ(weights[1].item<float>(), 1 - draw.own_weight);
}

}  // namespace
}  // namespace dasm
