#include "worker/engine/init/initial_images.h"

#include <ATen/ATen.h>

#include <numeric>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::UnorderedElementsAreArray;

std::vector<int64_t> Items(int64_t from, int64_t count) {
  std::vector<int64_t> items(count);
  std::iota(items.begin(), items.end(), from);
  return items;
}

TEST(DrawSources, AreDistinctAndDifferBetweenSeedsAndClasses) {
  const auto draw = [](uint64_t seed, uint32_t label) {
    return DrawSources({seed, label, 40}, Items(0, 100), {}, {});
  };
  const std::vector<int64_t> first = draw(0, 0);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 40);
  EXPECT_EQ(draw(0, 0), first);
  EXPECT_NE(draw(1, 0), first);
  EXPECT_NE(draw(0, 1), first);
  // Not the first images of the class.
  EXPECT_NE(first, Items(0, 40));
}

TEST(DrawSources, TakeUnusedOnesFirst) {
  absl::flat_hash_set<int64_t> used;
  for (int64_t i = 0; i < 70; ++i) used.insert(i);
  const std::vector<int64_t> sources =
      DrawSources({1, 0, 40}, Items(0, 100), {}, used);
  EXPECT_THAT(std::vector<int64_t>(sources.begin(), sources.begin() + 30),
              UnorderedElementsAreArray(Items(70, 30)));
  EXPECT_EQ(std::set<int64_t>(sources.begin(), sources.end()).size(), 40);
}

TEST(DrawSources, RepeatOnlyWhenTheCandidatesRunOut) {
  const std::vector<int64_t> sources =
      DrawSources({1, 0, 8}, Items(5, 4), {}, {});
  EXPECT_THAT(std::vector<int64_t>(sources.begin(), sources.begin() + 4),
              UnorderedElementsAreArray(Items(5, 4)));
  EXPECT_THAT(std::vector<int64_t>(sources.begin() + 4, sources.end()),
              UnorderedElementsAreArray(Items(5, 4)));
}

TEST(DrawSources, FollowTheWeightsOfThePool) {
  std::vector<float> weights(100, 1e-6f);
  for (int i = 90; i < 100; ++i) weights[i] = 1.0f;
  EXPECT_THAT(DrawSources({1, 0, 10}, Items(0, 100), weights, {}),
              UnorderedElementsAreArray(Items(90, 10)));
}

TEST(PasteTiles, PutsResizedImagesRowByRow) {
  // Image i is the constant i.
  const at::Tensor images =
      at::arange(8, at::kFloat).view({8, 1, 1, 1}).expand({8, 2, 4, 4});
  const at::Tensor stored = PasteTiles(images, 2);
  ASSERT_EQ(stored.sizes(), at::IntArrayRef({2, 2, 4, 4}));
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t i = 0; i < 4; ++i) {
      for (int64_t j = 0; j < 4; ++j) {
        EXPECT_EQ(stored[n][1][i][j].item<float>(),
                  4 * n + 2 * (i / 2) + j / 2);
      }
    }
  }
}

TEST(PasteTiles, ResizesByTheNearestPixel) {
  const at::Tensor image = at::arange(16, at::kFloat).view({1, 1, 4, 4});
  const at::Tensor tile =
      PasteTiles(image.repeat({4, 1, 1, 1}), 2).slice(2, 0, 2).slice(3, 0, 2);
  const float expected[] = {0, 2, 8, 10};
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(tile.contiguous().view(-1)[i].item<float>(), expected[i]);
  }
}

TEST(PasteTiles, CutsOffTilesThatDoNotFit) {
  const at::Tensor images =
      at::arange(9, at::kFloat).view({9, 1, 1, 1}).expand({9, 1, 7, 7});
  // Tiles of 3: 3 + 3 + 1.
  const at::Tensor stored = PasteTiles(images, 3);
  for (int64_t i = 0; i < 7; ++i) {
    for (int64_t j = 0; j < 7; ++j) {
      EXPECT_EQ(stored[0][0][i][j].item<float>(), 3 * (i / 3) + j / 3);
    }
  }
}

TEST(NoiseImages, AreClampedNormalAndKeyedByImage) {
  const at::Tensor images = NoiseImages(1, 0, {4, 1, 40, 40});
  EXPECT_GE(images.min().item<float>(), 0.0f);
  EXPECT_LE(images.max().item<float>(), 1.0f);
  // Standard error 0.25 / 80; clamping at two deviations takes 4 % off 1/4.
  EXPECT_NEAR(images.mean().item<double>(), 0.5, 0.0125);
  EXPECT_NEAR(images.std().item<double>(), 0.24, 0.01);
  EXPECT_TRUE(
      at::equal(NoiseImages(1, 0, {2, 1, 40, 40}), images.narrow(0, 0, 2)));
  EXPECT_FALSE(at::equal(NoiseImages(1, 1, {4, 1, 40, 40}), images));
}

}  // namespace
}  // namespace dasm
