#include "worker/engine/init/correct_images.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/labels/experts_for_tests.h"

namespace dasm {
namespace {

// "a" below the level, "b" above.
LinearAnswer Threshold(int level) {
  return {{-1, 1, 0}, {level / 255.0, -level / 255.0, -5}};
}

class CorrectImagesTest : public ::testing::Test {
 protected:
  // Image i of class "b" has level i + 1; there are more than one scan takes.
  CorrectImagesTest() : tests_(Levels(), std::vector<int64_t>(250, 1)) {}

  static std::vector<int> Levels() {
    std::vector<int> levels(250);
    std::iota(levels.begin(), levels.end(), 1);
    return levels;
  }

  CorrectImages Find(const std::vector<int64_t>& order, int64_t count,
                     int epoch = -1) {
    SingleProcessCollective alone;
    auto found = FindCorrectImages(
        {tests_.network(), execution_, &alone, at::kCPU}, tests_.experts(),
        epoch, tests_.data().train(), /*label=*/1, order, count);
    EXPECT_TRUE(found.ok()) << found.status();
    return *std::move(found);
  }

  const ExecutionSpec execution_;
  ExpertsForTests tests_;
};

TEST_F(CorrectImagesTest, TakesTheFirstOfTheOrderThatAreRight) {
  tests_.Add({Threshold(100)});
  const CorrectImages found = Find({3, 150, 98, 101, 240, 120}, 3);
  EXPECT_EQ(found.images, (std::vector<int64_t>{150, 101, 240}));
  EXPECT_EQ(found.unrecognised, 0);
}

TEST_F(CorrectImagesTest, NextExpertLooksAtWhatTheOneBeforeDidNotRecognise) {
  tests_.Add({Threshold(200)});
  tests_.Add({Threshold(50)});
  const CorrectImages found = Find({3, 150, 220, 60, 240, 10}, 4);
  EXPECT_EQ(found.images, (std::vector<int64_t>{220, 240, 150, 60}));
  EXPECT_EQ(found.unrecognised, 0);
}

TEST_F(CorrectImagesTest, FillsUpWithTheRestAndSaysSo) {
  tests_.Add({Threshold(200)});
  const CorrectImages found = Find({3, 150, 220}, 2);
  EXPECT_EQ(found.images, (std::vector<int64_t>{220, 3}));
  EXPECT_EQ(found.unrecognised, 1);
  EXPECT_EQ(Find({3, 220}, 5).images,
            (std::vector<int64_t>{220, 3, 220, 3, 220}));
}

TEST_F(CorrectImagesTest, IsEmptyWhereNoExpertRecognisesTheClass) {
  tests_.Add({Threshold(254)});
  tests_.Add({Threshold(253)});
  EXPECT_TRUE(Find({3, 150, 220}, 1).images.empty());
}

TEST_F(CorrectImagesTest, EpochChoosesTheExpertsRow) {
  tests_.Add({Threshold(254), Threshold(100), Threshold(200)});
  EXPECT_TRUE(Find({150, 220}, 1, 0).images.empty());
  EXPECT_EQ(Find({150, 220}, 1, 1).images, (std::vector<int64_t>{150}));
  EXPECT_EQ(Find({150, 220}, 1, -1).images, (std::vector<int64_t>{220}));
}

}  // namespace
}  // namespace dasm
