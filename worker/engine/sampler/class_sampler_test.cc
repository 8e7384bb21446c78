#include "worker/engine/sampler/class_sampler.h"

#include <map>
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

std::vector<int64_t> At(EpochWalk* walk, int64_t step) {
  std::vector<int64_t> batch;
  walk->Append(step, &batch);
  return batch;
}

TEST(EpochWalk, GivesEachItemOncePerEpoch) {
  EpochWalk walk(3, "test", 1, Items(100, 12), 4);
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> seen;
    for (int64_t step = 3 * epoch; step < 3 * epoch + 3; ++step) {
      walk.Append(step, &seen);
    }
    EXPECT_THAT(seen, UnorderedElementsAreArray(Items(100, 12)));
  }
}

TEST(EpochWalk, DropsTheLastIncompleteBatch) {
  EpochWalk walk(3, "test", 1, Items(0, 11), 4);
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    std::vector<int64_t> seen;
    walk.Append(2 * epoch, &seen);
    walk.Append(2 * epoch + 1, &seen);
    EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), 8);
  }
}

TEST(EpochWalk, WrapsFewerItemsThanABatch) {
  EpochWalk walk(3, "test", 1, Items(0, 3), 8);
  std::map<int64_t, int> count;
  for (int64_t step = 0; step < 3; ++step) {
    const std::vector<int64_t> batch = At(&walk, step);
    ASSERT_EQ(batch.size(), 8);
    for (int64_t i : batch) ++count[i];
  }
  // 24 places: each of the three items eight times.
  for (const auto& [item, times] : count) EXPECT_EQ(times, 8) << item;
}

TEST(EpochWalk, BatchDependsOnlyOnItsPosition) {
  EpochWalk forward(3, "test", 1, Items(0, 50), 8);
  std::vector<std::vector<int64_t>> batches;
  for (int64_t step = 0; step < 20; ++step) {
    batches.push_back(At(&forward, step));
  }
  for (int64_t step = 19; step >= 0; --step) {
    EpochWalk fresh(3, "test", 1, Items(0, 50), 8);
    EXPECT_EQ(At(&fresh, step), batches[step]);
    EXPECT_EQ(At(&forward, step), batches[step]);
  }
  EpochWalk other_lane(3, "test", 2, Items(0, 50), 8);
  EXPECT_NE(At(&other_lane, 0), batches[0]);
}

TEST(WeightedDraw, FollowsTheWeightsAndNeverTakesZero) {
  const std::vector<float> weights = {0.0f, 1.0f, 3.0f};
  const RandomStream stream(1, "test");
  std::map<int64_t, int> count;
  for (uint32_t i = 0; i < 4000; ++i) {
    ++count[WeightedDraw(stream.At(i), weights, 1)[0]];
  }
  EXPECT_EQ(count[0], 0);
  // Standard deviation of the count is sqrt(4000 * 3/16) = 27.
  EXPECT_NEAR(count[2], 3000, 5 * 27);
}

TEST(WeightedDraw, GivesDistinctItemsWhileTheyLast) {
  const std::vector<float> weights = {1.0f, 5.0f, 0.0f, 2.0f};
  const std::vector<int64_t> drawn =
      WeightedDraw(RandomStream(1, "test").At(), weights, 8);
  ASSERT_EQ(drawn.size(), 8);
  EXPECT_THAT(std::set<int64_t>(drawn.begin(), drawn.begin() + 3),
              UnorderedElementsAreArray({0, 1, 3}));
  EXPECT_THAT(std::set<int64_t>(drawn.begin() + 3, drawn.begin() + 6),
              UnorderedElementsAreArray({0, 1, 3}));
}

ClassSampler::Options Mixed(double mix) {
  ClassSampler::Options options;
  options.seed = 7;
  options.label = 2;
  options.batch = 10;
  options.whole = Items(0, 100);
  options.pool.members = Items(200, 40);
  options.mix = mix;
  return options;
}

TEST(ClassSampler, TakesItsShareOfEachBatchFromThePool) {
  for (const auto& [mix, expected] :
       std::map<double, int>{{0.0, 0}, {0.26, 3}, {0.5, 5}, {1.0, 10}}) {
    ClassSampler sampler(Mixed(mix));
    for (int64_t step = 0; step < 30; ++step) {
      const std::vector<int64_t> batch = sampler.Batch(step);
      ASSERT_EQ(batch.size(), 10);
      int from_pool = 0;
      for (int64_t i : batch) from_pool += i >= 200;
      EXPECT_EQ(from_pool, expected) << mix;
    }
  }
}

TEST(ClassSampler, WithoutAPoolWalksTheWholeClass) {
  ClassSampler::Options options = Mixed(1.0);
  options.pool.members.clear();
  ClassSampler sampler(options);
  EpochWalk walk(7, "match.real", 2, Items(0, 100), 10);
  for (int64_t step : {0, 1, 25}) {
    EXPECT_EQ(sampler.Batch(step), At(&walk, step));
  }
}

TEST(ClassSampler, DrawsAWeightedPoolByWeight) {
  ClassSampler::Options options = Mixed(0.5);
  options.pool.weights.assign(40, 0.0f);
  for (int i = 0; i < 6; ++i) options.pool.weights[i] = 1.0f;
  ClassSampler sampler(options);
  std::set<int64_t> seen;
  for (int64_t step = 0; step < 20; ++step) {
    const std::vector<int64_t> batch = sampler.Batch(step);
    for (int i = 0; i < 5; ++i) {
      EXPECT_LT(batch[i], 206);
      EXPECT_GE(batch[i], 200);
      seen.insert(batch[i]);
    }
    EXPECT_LT(batch[5], 100);
    EXPECT_EQ(sampler.Batch(step), batch);
  }
  EXPECT_EQ(seen.size(), 6);
}

}  // namespace
}  // namespace dasm
