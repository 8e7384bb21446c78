#include "worker/engine/matcher/trajectory_schedule.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "gtest/gtest.h"

namespace dasm {
namespace {

TrajectoryMatchingSpec Growing() {
  TrajectoryMatchingSpec spec;
  spec.start_epoch_min = 2;
  spec.start_epoch_initial = 10;
  spec.start_epoch_max = 20;
  spec.growth_iterations = 1000;
  return spec;
}

TEST(TrajectorySchedule, StartEpochsEndGrowsByOneAnInterval) {
  const TrajectoryMatchingSpec spec = Growing();
  EXPECT_EQ(CurrentStartEpochEnd(spec, 0), 10);
  // Interval 1000 / (20 - 10).
  EXPECT_EQ(CurrentStartEpochEnd(spec, 99), 10);
  EXPECT_EQ(CurrentStartEpochEnd(spec, 100), 11);
  EXPECT_EQ(CurrentStartEpochEnd(spec, 999), 19);
  EXPECT_EQ(CurrentStartEpochEnd(spec, 1000), 20);
  EXPECT_EQ(CurrentStartEpochEnd(spec, 50000), 20);
}

TEST(TrajectorySchedule, WithoutGrowthTheEndIsTheMaximum) {
  TrajectoryMatchingSpec spec = Growing();
  spec.growth_iterations = 0;
  EXPECT_EQ(CurrentStartEpochEnd(spec, 0), 20);
}

TEST(TrajectorySchedule, StartEpochsAreAllOfTheRangeButItsEnd) {
  const TrajectoryMatchingSpec spec = Growing();
  const RandomStream stream(1, "test");
  std::set<int> early, late;
  for (uint32_t i = 0; i < 2000; ++i) {
    early.insert(DrawStartEpoch(spec, 0, stream.At(i)));
    late.insert(DrawStartEpoch(spec, 1000, stream.At(i)));
  }
  EXPECT_EQ(*early.begin(), 2);
  EXPECT_EQ(*early.rbegin(), 9);
  EXPECT_EQ(early.size(), 8);
  EXPECT_EQ(*late.begin(), 2);
  EXPECT_EQ(*late.rbegin(), 19);
  EXPECT_EQ(late.size(), 18);
}

TEST(TrajectorySchedule, EveryExpertComesOnceBeforeOneComesAgain) {
  const RandomStream stream(1, "test");
  std::vector<int64_t> first, second;
  for (int64_t draw = 0; draw < 10; ++draw) {
    first.push_back(ExpertOfDraw(stream, 10, draw));
    second.push_back(ExpertOfDraw(stream, 10, 10 + draw));
  }
  EXPECT_NE(first, second);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), 10);
  EXPECT_EQ(std::set<int64_t>(second.begin(), second.end()).size(), 10);
}

TEST(TrajectorySchedule, ShortChunkComesFirstAndEveryRowOnceAPass) {
  const RandomStream stream(1, "test");
  const auto batches = DrawBatches(stream, 3, 0, 10, 4, 7);
  ASSERT_EQ(batches.size(), 7);
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_EQ(batches[3 * pass].size(), 2);
    EXPECT_EQ(batches[3 * pass + 1].size(), 4);
    EXPECT_EQ(batches[3 * pass + 2].size(), 4);
    // Popped from the back: read backwards they are the permutation.
    std::vector<int64_t> order;
    for (int k = 2; k >= 0; --k) {
      const auto& chunk = batches[3 * pass + k];
      order.insert(order.end(), chunk.begin(), chunk.end());
    }
    EXPECT_EQ(order, stream.At(3, 0, pass).Permutation(10));
  }
  EXPECT_EQ(batches[6].size(), 2);
  EXPECT_NE(batches, DrawBatches(stream, 4, 0, 10, 4, 7));
}

TEST(TrajectorySchedule, BatchOfZeroOrOfMoreThanAllIsAll) {
  const RandomStream stream(1, "test");
  for (const int64_t batch : {0, 5, 9}) {
    for (const auto& rows : DrawBatches(stream, 0, 0, 5, batch, 3)) {
      std::vector<int64_t> sorted = rows;
      std::sort(sorted.begin(), sorted.end());
      EXPECT_EQ(sorted, (std::vector<int64_t>{0, 1, 2, 3, 4}));
    }
  }
}

}  // namespace
}  // namespace dasm
