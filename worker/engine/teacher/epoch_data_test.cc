#include "worker/engine/teacher/epoch_data.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::UnorderedElementsAre;

ExpertTraining Training() {
  ExpertTraining training;
  training.epochs = 3;
  training.batch = 2;
  return training;
}

TEST(EpochData, EachExpertAndEpochHasAnOrderOfItsOwn) {
  EpochData::Images images;
  images.ranked.resize(1);
  for (int64_t i = 0; i < 50; ++i) images.ranked[0].push_back(i);
  const EpochData data(Training(), images);
  EXPECT_EQ(data.Batches(0), 25);
  EXPECT_EQ(data.TotalBatches(), 75);
  std::vector<int64_t> order = data.Order(7, 1);
  EXPECT_EQ(order, data.Order(7, 1));
  EXPECT_NE(order, data.Order(7, 2));
  EXPECT_NE(order, data.Order(8, 1));
  std::sort(order.begin(), order.end());
  EXPECT_EQ(order, images.ranked[0]);
}

TEST(EpochData, ScheduleDecidesWhichImagesAndTheLastBatchMayBeShort) {
  ExpertTraining training = Training();
  training.schedule.enabled = true;
  training.schedule.initial_share = 0.5;
  training.schedule.growth_epochs = 2;
  const EpochData data(training, {.ranked = {{3, 1, 4, 0}, {9, 8}}});
  EXPECT_THAT(data.Order(1, 0), UnorderedElementsAre(3, 1, 9));
  EXPECT_EQ(data.Batches(0), 2);
  EXPECT_THAT(data.Order(1, 2), UnorderedElementsAre(3, 1, 4, 0, 9, 8));
  EXPECT_EQ(data.Batches(2), 3);
}

TEST(EpochData, PoolComesBeforeASchedule) {
  ExpertTraining training = Training();
  training.schedule.enabled = true;
  training.schedule.initial_share = 0.1;
  training.schedule.growth_epochs = 9;
  const EpochData data(
      training,
      {.ranked = {{3, 1, 4, 0}}, .pool = {{3, 1}}, .others = {{4, 0}}});
  EXPECT_THAT(data.Order(1, 0), UnorderedElementsAre(3, 1, 4, 0));
}

}  // namespace
}  // namespace dasm
