#include "worker/engine/score/difficulty.h"

#include <cmath>

#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(Difficulty, El2nIsTheDistanceToTheLabel) {
  const std::vector<double> scores =
      El2n({0.5f, 0.25f, 0.25f, 0, 1, 0, 0.25f, 0.5f, 0.25f}, {0, 1, 2});
  ASSERT_EQ(scores.size(), 3u);
  EXPECT_DOUBLE_EQ(scores[0], std::sqrt(0.25 + 0.0625 + 0.0625));
  EXPECT_DOUBLE_EQ(scores[1], 0);
  EXPECT_DOUBLE_EQ(scores[2], std::sqrt(0.0625 + 0.25 + 0.5625));
}

TEST(Difficulty, GrandWeighsItByTheEmbedding) {
  // || h || = 3/4: sqrt(1 + 9/16) = 5/4.
  const std::vector<double> scores =
      Grand({0.25f, 0.75f, 1, 0}, {0.75f, 100}, {1, 0});
  EXPECT_DOUBLE_EQ(scores[0], 0.25 * std::sqrt(2.0) * 1.25);
  EXPECT_DOUBLE_EQ(scores[1], 0);
}

}  // namespace
}  // namespace dasm
