#include "worker/engine/teacher/data_schedule.h"

#include <algorithm>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsSubsetOf;

// PAD's README: IR 0.75, AEE 20, 10 % after 40, 20 % after 60.
DataScheduleSpec Cifar10() {
  DataScheduleSpec schedule;
  schedule.enabled = true;
  schedule.initial_share = 0.75;
  schedule.growth_epochs = 20;
  schedule.removals = {{40, 0.1}, {60, 0.2}};
  return schedule;
}

// trajectory_matching.md 4.3, row by row.
TEST(DataSchedule, FollowsThePublishedTableForClassesOf5000) {
  const DataScheduleSpec schedule = Cifar10();
  const auto range = [&](int epoch) {
    return ScheduleOf(schedule, epoch, 100, 5000);
  };
  EXPECT_EQ(range(0), (ScheduledRange{0, 3750}));
  EXPECT_EQ(range(1), (ScheduledRange{0, 3812}));  // int(3812.5)
  EXPECT_EQ(range(10), (ScheduledRange{0, 4375}));
  EXPECT_EQ(range(19), (ScheduledRange{0, 4937}));  // int(4937.5)
  EXPECT_EQ(range(20), (ScheduledRange{0, 5000}));
  EXPECT_EQ(range(21), (ScheduledRange{0, 5000}));
  EXPECT_EQ(range(40), (ScheduledRange{0, 5000}));
  EXPECT_EQ(range(41), (ScheduledRange{500, 5000}));
  EXPECT_EQ(range(60), (ScheduledRange{500, 5000}));
  EXPECT_EQ(range(61), (ScheduledRange{1000, 5000}));
  EXPECT_EQ(range(99), (ScheduledRange{1000, 5000}));
}

// The released code would hold nothing back at first, and then everything.
TEST(DataSchedule, ScalesToClassesOf500) {
  DataScheduleSpec schedule = Cifar10();
  schedule.growth_epochs = 40;
  schedule.removals = {{40, 0.1}};
  const auto range = [&](int epoch) {
    return ScheduleOf(schedule, epoch, 100, 500);
  };
  EXPECT_EQ(range(0), (ScheduledRange{0, 375}));
  EXPECT_EQ(range(1), (ScheduledRange{0, 378}));  // int(378.125)
  EXPECT_EQ(range(39), (ScheduledRange{0, 496}));
  EXPECT_EQ(range(40), (ScheduledRange{0, 500}));
  EXPECT_EQ(range(41), (ScheduledRange{50, 500}));
  EXPECT_EQ(range(99), (ScheduledRange{50, 500}));
}

TEST(DataSchedule, GradualRemovalGrowsToTheNextOneAndTheLastEpoch) {
  DataScheduleSpec schedule = Cifar10();
  schedule.gradual = true;
  const auto removed = [&](int epoch) {
    return ScheduleOf(schedule, epoch, 101, 1000).begin;
  };
  EXPECT_EQ(removed(40), 0);
  EXPECT_EQ(removed(41), 5);
  EXPECT_EQ(removed(50), 50);
  EXPECT_EQ(removed(60), 100);
  EXPECT_EQ(removed(80), 150);
  EXPECT_EQ(removed(100), 200);
}

TEST(DataSchedule, WithoutOneEveryEpochHasAllImages) {
  EXPECT_EQ(ScheduleOf({}, 0, 10, 7), (ScheduledRange{0, 7}));
  DataScheduleSpec at_once = Cifar10();
  at_once.growth_epochs = 0;
  EXPECT_EQ(ScheduleOf(at_once, 0, 10, 7), (ScheduledRange{0, 7}));
}

TEST(DataSchedule, TakesTheEasiestOfEachClass) {
  const ClassImages ranked = {{4, 0, 2, 6}, {1, 3}};
  DataScheduleSpec schedule = Cifar10();
  schedule.initial_share = 0.5;
  schedule.removals = {{40, 0.5}};
  EXPECT_THAT(ScheduledImages(schedule, 0, 50, ranked), ElementsAre(4, 0, 1));
  EXPECT_THAT(ScheduledImages(schedule, 30, 50, ranked),
              ElementsAre(4, 0, 2, 6, 1, 3));
  EXPECT_THAT(ScheduledImages(schedule, 41, 50, ranked), ElementsAre(2, 6, 3));
}

TEST(PoolImages, AreThePoolAndAsManyOthersDrawnAnewEachEpoch) {
  const ClassImages pool = {{0, 1, 2}, {10, 11, 12, 13}};
  ClassImages others(2);
  for (int64_t i = 100; i < 150; ++i) others[0].push_back(i);
  others[1] = {200};
  const RandomStream stream(3, "test");
  const auto draw = [&](int epoch) {
    std::vector<int64_t> images = PoolImages(pool, others, stream, epoch);
    EXPECT_EQ(images.size(), 3u + 3 + 4 + 1);
    EXPECT_EQ(std::set<int64_t>(images.begin(), images.end()).size(), 11u);
    EXPECT_THAT((std::vector<int64_t>{0, 1, 2, 10, 11, 12, 13, 200}),
                IsSubsetOf(images));
    return images;
  };
  EXPECT_EQ(draw(0), draw(0));
  EXPECT_NE(draw(0), draw(1));
}

}  // namespace
}  // namespace dasm
