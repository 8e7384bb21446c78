#include "worker/engine/task/image_grid.h"

#include <ATen/ATen.h>

#include "gtest/gtest.h"

namespace dasm {
namespace {

SetData Set(int64_t images, int64_t channels, int64_t side, int classes) {
  SetData set;
  set.labels = at::arange(images, at::kLong).remainder(classes);
  set.images = set.labels.to(at::kFloat)
                   .div(classes)
                   .view({images, 1, 1, 1})
                   .repeat({1, channels, side, side});
  return set;
}

TEST(DrawGrid, PutsARowAClassAndScalesImagesUp) {
  const ImageGrid grid = DrawGrid(Set(6, 1, 28, 2), 2);
  // 28 x 3 = 84 pixels an image, lines of 2.
  EXPECT_EQ(grid.width, 3 * 86 + 2);
  EXPECT_EQ(grid.height, 2 * 86 + 2);
  EXPECT_EQ(grid.channels, 1);
  const auto at = [&](int64_t y, int64_t x) {
    return int{grid.pixels[y * grid.width + x]};
  };
  EXPECT_EQ(at(0, 0), 255);      // line
  EXPECT_EQ(at(2, 2), 0);        // class 0
  EXPECT_EQ(at(85, 257), 0);     // its last image's corner
  EXPECT_EQ(at(86, 100), 255);   // line
  EXPECT_EQ(at(88, 2), 128);     // class 1: 0.5
  EXPECT_EQ(at(173, 259), 255);  // line
}

TEST(DrawGrid, ShowsColour) {
  SetData set = Set(1, 3, 64, 1);
  set.images[0][1].fill_(1.0);
  const ImageGrid grid = DrawGrid(set, 1);
  EXPECT_EQ(grid.channels, 3);
  EXPECT_EQ(grid.width, 64 + 4);
  const uint8_t* pixel = &grid.pixels[(2 * grid.width + 2) * 3];
  EXPECT_EQ(pixel[0], 0);
  EXPECT_EQ(pixel[1], 255);
  EXPECT_EQ(pixel[2], 0);
}

TEST(DrawGrid, StaysWithinWhatAPngHolds) {
  const ImageGrid grid = DrawGrid(Set(3000, 1, 28, 1), 1);
  EXPECT_LE(grid.width, 65535);
  EXPECT_EQ(grid.width % 30, 2);
}

TEST(StretchForDisplay, ClipsOutliersAndFillsTheRangeOfEachImage) {
  at::Tensor pixels = at::zeros({2, 1, 10, 10});
  pixels[0] = at::arange(100).view({1, 10, 10}) / 50.0 - 1;
  pixels[1] = pixels[0] / 2 + 0.3;
  pixels[0][0][0][0] = 1000.0;
  const at::Tensor shown = StretchForDisplay(pixels);
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(shown[i].min().item<float>(), 0);
    EXPECT_EQ(shown[i].max().item<float>(), 1);
  }
  EXPECT_NEAR(shown[1][0][5][0].item<float>(), 50.0 / 99, 1e-6);
  // The outlier was cut: the others still differ.
  EXPECT_GT(shown[0][0][9][9].item<float>(), 0.001);
  EXPECT_TRUE(
      StretchForDisplay(at::ones({1, 1, 2, 2})).equal(at::zeros({1, 1, 2, 2})));
}

}  // namespace
}  // namespace dasm
