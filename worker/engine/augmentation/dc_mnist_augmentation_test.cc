#include "worker/engine/augmentation/dc_mnist_augmentation.h"

#include <ATen/ATen.h>

#include <numeric>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/network/finite_differences.h"

namespace dasm {
namespace {

using Operation = DcMnistDraw::Operation;

constexpr ImageShape kMnistShape = {1, 28, 28};

at::Tensor MnistImages(int64_t n) {
  return TestTensor({n, 1, 28, 28}).to(at::kFloat);
}

DcMnistDraw One(DcMnistDraw::Image image) {
  DcMnistDraw draw;
  draw.images = {image};
  return draw;
}

TEST(DcMnist, DrawsFillTheirRanges) {
  const DcMnistDraw draw =
      DrawDcMnist(RandomStream(1, "test"), 0, 0, 5000, kMnistShape);
  std::set<int> tops, heights, widths, degrees;
  std::vector<int> operations(3);
  for (const DcMnistDraw::Image& image : draw.images) {
    ++operations[static_cast<int>(image.operation)];
    tops.insert(image.top);
    heights.insert(image.height);
    widths.insert(image.width);
    degrees.insert(image.degrees);
  }
  for (int count : operations) EXPECT_NEAR(count, 5000 / 3, 150);
  EXPECT_EQ(tops.size(), 8);
  EXPECT_EQ(*tops.rbegin(), 7);
  EXPECT_EQ(*heights.begin(), 22);   // int(0.8 * 28)
  EXPECT_EQ(*heights.rbegin(), 33);  // int(1.2 * 28)
  EXPECT_EQ(*widths.begin(), 22);
  EXPECT_EQ(*widths.rbegin(), 33);
  EXPECT_EQ(*degrees.begin(), -45);
  EXPECT_EQ(*degrees.rbegin(), 44);
}

TEST(DcMnist, CropShiftsAndFillsWithTheMeanOfTheBatch) {
  const at::Tensor images = MnistImages(1);
  const DcMnistDraw draw =
      One({.operation = Operation::kCrop, .top = 0, .left = 7});
  const at::Tensor out = ApplyDcMnist(images, draw, {0.75f});
  // Down by 4, left by 3.
  EXPECT_TRUE(out.narrow(2, 4, 24).narrow(3, 0, 25).equal(
      images.narrow(2, 0, 24).narrow(3, 3, 25)));
  EXPECT_TRUE((out.narrow(2, 0, 4) == 0.75).all().item<bool>());
  EXPECT_TRUE((out.narrow(3, 25, 3) == 0.75).all().item<bool>());
}

TEST(DcMnist, ScaleKeepsTheMiddleAndFillsWithZero) {
  const at::Tensor images = MnistImages(1) + 3;
  const DcMnistDraw small =
      One({.operation = Operation::kScale, .height = 22, .width = 28});
  const at::Tensor shrunk = ApplyDcMnist(images, small, {0.75f});
  EXPECT_TRUE((shrunk.narrow(2, 0, 3) == 0).all().item<bool>());
  EXPECT_TRUE((shrunk.narrow(2, 25, 3) == 0).all().item<bool>());
  EXPECT_TRUE(shrunk.narrow(2, 3, 22).equal(
      at::upsample_nearest2d(images, at::IntArrayRef({22, 28}))));

  const DcMnistDraw large =
      One({.operation = Operation::kScale, .height = 33, .width = 30});
  const at::Tensor grown = ApplyDcMnist(images, large, {0.75f});
  // The canvas is 33 x 33: the picture starts at row 0 and column (33 - 30) /
  // 2, what is kept at (33 - 28) / 2.
  EXPECT_TRUE(
      grown.equal(at::upsample_nearest2d(images, at::IntArrayRef({33, 30}))
                      .narrow(2, 2, 28)
                      .narrow(3, 1, 28)));
}

TEST(DcMnist, RotateFillsCornersAndKeepsTheCentre) {
  const at::Tensor images = at::ones({1, 1, 28, 28});
  const DcMnistDraw draw =
      One({.operation = Operation::kRotate, .degrees = 30});
  const at::Tensor out = ApplyDcMnist(images, draw, {0.75f});
  EXPECT_EQ(out[0][0][0][0].item<float>(), 0.75f);
  EXPECT_EQ(out[0][0][27][27].item<float>(), 0.75f);
  EXPECT_NEAR(out[0][0][14][14].item<float>(), 1.0f, 1e-6);
  const at::Tensor picture = MnistImages(1);
  EXPECT_TRUE(
      ApplyDcMnist(picture, One({.operation = Operation::kRotate}), {0.75f})
          .allclose(picture, 1e-6, 1e-6));
}

TEST(DcMnist, PartOfABatchHasTheBitsItHasInTheWhole) {
  const at::Tensor images = MnistImages(12);
  const DcMnistDraw draw =
      DrawDcMnist(RandomStream(1, "test"), 3, 0, 12, kMnistShape);
  const std::vector<float> means = ChannelMeans(images);
  EXPECT_NEAR(means[0], images.mean().item<float>(), 1e-6);
  const at::Tensor whole = ApplyDcMnist(images, draw, means);
  EXPECT_TRUE(
      ApplyDcMnist(images.narrow(0, 5, 4), draw.Select({5, 6, 7, 8}), means)
          .equal(whole.narrow(0, 5, 4)));
  EXPECT_FALSE(whole.equal(images));
}

}  // namespace
}  // namespace dasm
