#include "worker/engine/pool/select_pool.h"

#include <cmath>
#include <limits>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatEq;

// Two classes; row i gives image i's probability of its own label.
struct Scores {
  std::vector<int64_t> labels;
  std::vector<float> probabilities;

  Scores(std::vector<int64_t> of, const std::vector<float>& own)
      : labels(std::move(of)) {
    for (size_t i = 0; i < labels.size(); ++i) {
      const float other = 1 - own[i];
      probabilities.push_back(labels[i] == 0 ? own[i] : other);
      probabilities.push_back(labels[i] == 0 ? other : own[i]);
    }
  }
  ScoredSamples View() const { return {labels, 2, {probabilities}}; }
};

SelectPoolParameters Parameters(PoolRule rule) {
  SelectPoolParameters parameters;
  parameters.pool = rule;
  parameters.trim = 0;
  parameters.minimum = 0;
  return parameters;
}

Pool Select(const SelectPoolParameters& parameters, const Scores& scores) {
  return SelectPool(parameters, scores.labels, 2,
                    *ComputeStatistics(scores.View()));
}

// Class 0 is half unlearned, class 1 wholly learned.
const Scores& HalfLearned() {
  static const Scores* scores = new Scores(
      {0, 0, 0, 0, 1, 1, 1, 1}, {.1f, .4f, .6f, .9f, .95f, .8f, .7f, .99f});
  return *scores;
}

TEST(ComputeStatistics, MeansProbabilitiesAndTakesTheMajority) {
  const std::vector<int64_t> labels = {0};
  const std::vector<float> right = {.8f, .2f};
  const std::vector<float> wrong = {.3f, .7f};
  const std::vector<float> barely = {.51f, .49f};
  const auto three = ComputeStatistics({labels, 2, {right, wrong, barely}});
  ASSERT_TRUE(three.ok());
  const double p = (.8 + .3 + .51) / 3;
  EXPECT_NEAR(three->label_probability[0], p, 1e-7);
  EXPECT_NEAR(three->loss[0], -std::log(p), 1e-7);
  EXPECT_NEAR(three->el2n[0], std::sqrt(2.0) * (1 - p), 1e-7);
  EXPECT_THAT(three->learned, ElementsAre(1));
  // One of two is no majority.
  EXPECT_THAT(ComputeStatistics({labels, 2, {right, wrong}})->learned,
              ElementsAre(0));
}

TEST(ComputeStatistics, RefusesWhatIsNoProbability) {
  const std::vector<int64_t> labels = {0};
  for (float bad : {-0.1f, 1.5f, std::numeric_limits<float>::quiet_NaN()}) {
    const std::vector<float> row = {bad, .5f};
    const auto result = ComputeStatistics({labels, 2, {row}});
    EXPECT_EQ(FailureClassOf(result.status()), FailureClass::kData) << bad;
  }
  const std::vector<float> row = {.5f, .5f};
  const std::vector<int64_t> outside = {2};
  EXPECT_FALSE(ComputeStatistics({outside, 2, {row}}).ok());
  EXPECT_FALSE(ComputeStatistics({labels, 3, {row}}).ok());
  EXPECT_FALSE(ComputeStatistics({labels, 2, {}}).ok());
}

TEST(SelectPool, MisclassifiedTakesWhatTheMajorityGetsWrong) {
  const Pool pool = Select(Parameters(PoolRule::kMisclassified), HalfLearned());
  EXPECT_EQ(pool.rule, PoolRule::kMisclassified);
  EXPECT_THAT(pool.members, ElementsAre(1, 1, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(pool.weight, ElementsAre(.5f, .5f, 0, 0, 0, 0, 0, 0));
}

TEST(SelectPool, FloorFillsWithTheLeastSureOfTheClass) {
  SelectPoolParameters parameters = Parameters(PoolRule::kMisclassified);
  parameters.minimum = 3;
  // Class 1 has nothing unlearned and gets its three lowest p_y.
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(1, 1, 1, 0, 1, 1, 1, 0));
}

TEST(SelectPool, ClassBelowTheMinimumIsTakenWhole) {
  SelectPoolParameters parameters = Parameters(PoolRule::kMisclassified);
  parameters.minimum = 5;
  parameters.trim = 0.25;
  EXPECT_THAT(Select(parameters, HalfLearned()).members, Each(1));
}

TEST(SelectPool, TrimDropsTheHighestLossOfEachClass) {
  SelectPoolParameters parameters = Parameters(PoolRule::kMisclassified);
  parameters.trim = 0.25;
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(0, 1, 0, 0, 0, 0, 0, 0));
  // Filling passes over the trimmed image 0 (and 6 in class 1).
  parameters.minimum = 2;
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(0, 1, 1, 0, 1, 1, 0, 0));
}

TEST(SelectPool, TrimmedImagesFillLastAndMildestFirst) {
  SelectPoolParameters parameters = Parameters(PoolRule::kMisclassified);
  parameters.trim = 0.5;
  parameters.minimum = 3;
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(0, 1, 1, 1, 1, 1, 0, 1));
}

TEST(SelectPool, LossQuantileIsBalancedAndFollowsTheWholeSet) {
  SelectPoolParameters parameters = Parameters(PoolRule::kLossQuantile);
  // 2 of 8 unlearned: q = 0.25, one of each class.
  parameters.quantile_floor = 0.2;
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(1, 0, 0, 0, 0, 0, 1, 0));
  parameters.quantile_floor = 0.5;
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(1, 1, 0, 0, 0, 1, 1, 0));
}

TEST(SelectPool, El2nTakesTheUnsureToo) {
  SelectPoolParameters parameters = Parameters(PoolRule::kEl2n);
  // sqrt(2) (1 - p) > 0.5 where p < 0.646.
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(1, 1, 1, 0, 0, 0, 0, 0));
  parameters.el2n_threshold = 0.4;  // p < 0.717
  EXPECT_THAT(Select(parameters, HalfLearned()).members,
              ElementsAre(1, 1, 1, 0, 0, 0, 1, 0));
}

TEST(SelectPool, WeightedTakesAllInProportionToWhatIsMissing) {
  SelectPoolParameters parameters = Parameters(PoolRule::kWeighted);
  parameters.weight_floor = 0.05;
  parameters.weight_power = 2;
  const Pool pool = Select(parameters, HalfLearned());
  EXPECT_THAT(pool.members, Each(1));
  const double a = .05 + .9 * .9, b = .05 + .6 * .6;
  const double c = .05 + .4 * .4, d = .05 + .1 * .1;
  const double total = a + b + c + d;
  EXPECT_NEAR(pool.weight[0], a / total, 1e-6);
  EXPECT_NEAR(pool.weight[1], b / total, 1e-6);
  EXPECT_NEAR(pool.weight[2], c / total, 1e-6);
  EXPECT_NEAR(pool.weight[3], d / total, 1e-6);
}

TEST(SelectPool, AllIgnoresTrimAndFloor) {
  SelectPoolParameters parameters = Parameters(PoolRule::kAll);
  parameters.trim = 0.5;
  const Pool pool = Select(parameters, HalfLearned());
  EXPECT_THAT(pool.members, Each(1));
  EXPECT_THAT(pool.weight, Each(FloatEq(.25f)));
}

TEST(SelectPool, AlmostLearnedSetSwitchesToTheTopTenPercentByLoss) {
  // 1 of 200 unlearned.
  std::vector<int64_t> labels(200);
  std::vector<float> own(200);
  for (int i = 0; i < 200; ++i) {
    labels[i] = i % 2;
    own[i] = i == 7 ? 0.1f : 0.6f + 0.001f * i;
  }
  const Scores scores(labels, own);
  for (PoolRule rule : {PoolRule::kMisclassified, PoolRule::kEl2n}) {
    const Pool pool = Select(Parameters(rule), scores);
    EXPECT_EQ(pool.rule, PoolRule::kLossQuantile);
    int sizes[2] = {0, 0};
    for (int i = 0; i < 200; ++i) sizes[labels[i]] += pool.members[i];
    EXPECT_EQ(sizes[0], 10);
    EXPECT_EQ(sizes[1], 10);
    EXPECT_EQ(pool.members[7], 1);
  }
  // At exactly 1 % the rule stands.
  own[8] = 0.1f;
  EXPECT_EQ(
      Select(Parameters(PoolRule::kMisclassified), Scores(labels, own)).rule,
      PoolRule::kMisclassified);
  EXPECT_EQ(Select(Parameters(PoolRule::kWeighted), scores).rule,
            PoolRule::kWeighted);
}

}  // namespace
}  // namespace dasm
