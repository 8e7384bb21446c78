#include "worker/engine/task/rank_samples.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/engine/task/tiny_gang.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Six images of classes 0, 1, 2, 0, 1, 2.
std::string Dataset() {
  return TinyDatasetBlob({.train_per_class = 2, .test_per_class = 1});
}

// Each image's own class has this probability, the next one the rest.
std::string Scores(const std::vector<float>& own,
                   const std::vector<float>& norm = {}) {
  std::vector<float> probabilities(18, 0);
  for (int i = 0; i < 6; ++i) {
    probabilities[3 * i + i % 3] = own[i];
    probabilities[3 * i + (i + 1) % 3] = 1 - own[i];
  }
  std::map<std::string, TensorView> tensors = {
      {"probabilities", {DType::kF32, {6, 3}, probabilities.data()}}};
  if (!norm.empty()) {
    tensors["feature_norm"] = {DType::kF32, {6}, norm.data()};
  }
  return SerializeSafetensors(tensors);
}

template <typename T>
std::vector<T> Values(const GangRun& run, const std::string& name) {
  const auto file = *SafetensorsFile::Parse(run.outputs.at("ranking"));
  const TensorView& view = file->tensors().at(name);
  const T* first = static_cast<const T*>(view.data);
  return {first, first + view.elements()};
}

TEST(RankSamples, MeanEl2nOrdersEachClassAndTiesGoByNumber) {
  TinyGang gang;
  const GangRun run =
      gang.Run(RankSamplesParameters{},
               {{"dataset", Dataset()},
                {"scores.1", Scores({.25f, 1, .5f, .75f, 1, .5f})},
                {"scores.2", Scores({.25f, 0, .5f, .75f, .5f, .5f})}});
  ASSERT_TRUE(run.status.ok()) << run.status;
  EXPECT_THAT(Values<int64_t>(run, "order"), ElementsAre(3, 0, 4, 1, 2, 5));
  // sqrt(2) (1 - p), averaged.
  const std::vector<float> score = Values<float>(run, "score");
  const double root = std::sqrt(2.0);
  EXPECT_FLOAT_EQ(score[0], root * 0.75);
  EXPECT_FLOAT_EQ(score[1], root * 0.5);
  EXPECT_FLOAT_EQ(score[4], root * 0.25);
  EXPECT_EQ(run.summary["runs"], 2);
  EXPECT_NEAR(run.summary["mean_score"], root * 2.75 / 6, 1e-6);
}

TEST(RankSamples, GrandNeedsAndUsesTheEmbeddings) {
  RankSamplesParameters parameters;
  parameters.rule = ScoreRule::kGrand;
  TinyGang gang;
  const std::vector<float> own = {.5f, .5f, .5f, .25f, .5f, .5f};
  const GangRun run =
      gang.Run(parameters, {{"dataset", Dataset()},
                            {"scores.1", Scores(own, {2, 0, 1, 0, .75f, 1})}});
  ASSERT_TRUE(run.status.ok()) << run.status;
  // 0.5 sqrt(5) against 0.75.
  EXPECT_THAT(Values<int64_t>(run, "order"), ElementsAre(3, 0, 1, 4, 2, 5));
  EXPECT_FLOAT_EQ(Values<float>(run, "score")[4], std::sqrt(2.0) * 0.5 * 1.25);

  const GangRun without =
      gang.Run(parameters, {{"dataset", Dataset()}, {"scores.1", Scores(own)}});
  EXPECT_EQ(FailureClassOf(without.status), FailureClass::kData);
  EXPECT_THAT(std::string(without.status.message()), HasSubstr("grand"));
}

TEST(RankSamples, ScoresOfOtherImagesAreRefused) {
  TinyGang gang;
  const GangRun run = gang.Run(RankSamplesParameters{},
                               {{"dataset", TinyDatasetBlob({})},
                                {"scores.1", Scores({1, 1, 1, 1, 1, 1})}});
  EXPECT_EQ(FailureClassOf(run.status), FailureClass::kData);
  EXPECT_THAT(std::string(run.status.message()), HasSubstr("in.scores.1"));
}

// The whole way: a trained network's scores with embeddings, ranked.
TEST(ScoreSamples, OfGrandHoldTheLengthsOfTheEmbeddings) {
  TrainDiscriminatorParameters train;
  train.real = true;
  train.network.depth = 1;
  train.network.width = 4;
  train.training.steps = 2;
  train.training.batch = 6;
  train.training.cutmix = 0;
  TinyGang gang;
  const GangRun trained = gang.Run(train, {{"dataset", Dataset()}});
  ASSERT_TRUE(trained.status.ok()) << trained.status;
  ScoreSamplesParameters score;
  score.network = train.network;
  score.grand = true;
  const GangRun scored = gang.Run(
      score,
      {{"dataset", Dataset()}, {"weights", trained.outputs.at("weights")}});
  ASSERT_TRUE(scored.status.ok()) << scored.status;
  RankSamplesParameters rank;
  rank.rule = ScoreRule::kGrand;
  const GangRun ranked = gang.Run(
      rank,
      {{"dataset", Dataset()}, {"scores.1", scored.outputs.at("scores")}});
  EXPECT_TRUE(ranked.status.ok()) << ranked.status;
  const std::vector<float> grand_score = Values<float>(ranked, "score");
  rank.rule = ScoreRule::kEl2n;
  const GangRun el2n = gang.Run(
      rank,
      {{"dataset", Dataset()}, {"scores.1", scored.outputs.at("scores")}});
  const std::vector<float> el2n_score = Values<float>(el2n, "score");
  for (int i = 0; i < 6; ++i) EXPECT_GT(grand_score[i], el2n_score[i]);
}

}  // namespace
}  // namespace dasm
