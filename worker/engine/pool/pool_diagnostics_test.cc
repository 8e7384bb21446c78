#include "worker/engine/pool/pool_diagnostics.h"

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;

// Two networks over four images of two classes.
class PoolDiagnosticsTest : public ::testing::Test {
 protected:
  PoolDiagnosticsTest() {
    parameters_.trim = 0;
    parameters_.minimum = 0;
    statistics_ = *ComputeStatistics(samples_);
    pool_ = SelectPool(parameters_, labels_, 2, statistics_);
  }

  absl::StatusOr<PoolDiagnostics> Diagnose(const PoolReferences& references) {
    return DiagnosePool(parameters_, samples_, statistics_, pool_, references);
  }

  const std::vector<int64_t> labels_ = {0, 0, 1, 1};
  // Wrong: 1 and 3; wrong: 1 only.
  const std::vector<float> first_ = {.9f, .1f, .2f, .8f, .1f, .9f, .7f, .3f};
  const std::vector<float> second_ = {.9f, .1f, .3f, .7f, .2f, .8f, .4f, .6f};
  const ScoredSamples samples_ = {labels_, 2, {first_, second_}};
  SelectPoolParameters parameters_;
  SampleStatistics statistics_;
  Pool pool_;
};

TEST_F(PoolDiagnosticsTest, CountsWhatIsLearnedByClass) {
  const PoolDiagnostics result = *Diagnose({});
  // Image 3 is right by one of two: not learned.
  EXPECT_EQ(result.learned_fraction, 0.5);
  EXPECT_THAT(result.learned_fraction_by_class, ElementsAre(0.5, 0.5));
  EXPECT_THAT(result.pool_size_by_class, ElementsAre(1, 1));
  EXPECT_EQ(result.newly_learned, 2);
  EXPECT_EQ(result.forgotten, 0);
  EXPECT_EQ(result.never_learned, 2);
  EXPECT_FALSE(result.jaccard_previous.has_value());
  EXPECT_FALSE(result.learned_fraction_by_decile.has_value());
  EXPECT_FALSE(result.learned_fraction_tile_sources.has_value());
  EXPECT_FALSE(result.learned_fraction_other_images.has_value());
}

TEST_F(PoolDiagnosticsTest, ComparesWithThePreviousBoundary) {
  const std::vector<uint8_t> members = {1, 1, 0, 0};
  const std::vector<uint8_t> learned = {0, 1, 1, 0};
  const PoolDiagnostics result =
      *Diagnose({.previous = PreviousPool{members, learned}});
  EXPECT_EQ(result.newly_learned, 1);
  EXPECT_EQ(result.forgotten, 1);
  EXPECT_EQ(result.never_learned, 1);
  // {0, 1} and {1, 3}.
  EXPECT_THAT(*result.jaccard_previous, DoubleEq(1.0 / 3));
}

TEST_F(PoolDiagnosticsTest, ComparesThePoolsOfSingleNetworks) {
  // {1, 3} and {1}.
  EXPECT_THAT(*Diagnose({})->jaccard_discriminators, DoubleEq(0.5));
}

TEST_F(PoolDiagnosticsTest, TellsTileSourcesFromImagesThatNoTileStartedAs) {
  // Learned: 0 and 2.
  const std::vector<uint8_t> sources = {1, 0, 0, 0};
  const PoolDiagnostics result = *Diagnose({.tile_sources = sources});
  EXPECT_EQ(*result.learned_fraction_tile_sources, 1.0);
  EXPECT_THAT(*result.learned_fraction_other_images, DoubleEq(1.0 / 3));
}

TEST_F(PoolDiagnosticsTest, GivesNoFractionOfNoImage) {
  const std::vector<uint8_t> none = {0, 0, 0, 0};
  const std::vector<uint8_t> all = {1, 1, 1, 1};
  const PoolDiagnostics of_noise = *Diagnose({.tile_sources = none});
  EXPECT_FALSE(of_noise.learned_fraction_tile_sources.has_value());
  EXPECT_EQ(*of_noise.learned_fraction_other_images, 0.5);
  const PoolDiagnostics of_all = *Diagnose({.tile_sources = all});
  EXPECT_EQ(*of_all.learned_fraction_tile_sources, 0.5);
  EXPECT_FALSE(of_all.learned_fraction_other_images.has_value());
}

TEST_F(PoolDiagnosticsTest, SplitsByReferenceDifficulty) {
  std::vector<int64_t> labels;
  std::vector<float> scores;
  std::vector<double> reference;
  // Twenty images of one class of two; the reference's easier half is learned.
  for (int i = 0; i < 20; ++i) {
    labels.push_back(0);
    const bool easy = i % 2 == 0;
    scores.push_back(easy ? 0.9f : 0.1f);
    scores.push_back(easy ? 0.1f : 0.9f);
    reference.push_back(easy ? 0.1 : 0.8);
  }
  const ScoredSamples samples = {labels, 2, {scores}};
  const SampleStatistics statistics = *ComputeStatistics(samples);
  const auto result = DiagnosePool(
      parameters_, samples, statistics,
      SelectPool(parameters_, labels, 2, statistics), {.el2n = reference});
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(*result->learned_fraction_by_decile,
              ElementsAre(1, 1, 1, 1, 1, 0, 0, 0, 0, 0));
  EXPECT_FALSE(result->jaccard_discriminators.has_value());
  EXPECT_THAT(result->learned_fraction_by_class, ElementsAre(0.5, 0));
}

TEST_F(PoolDiagnosticsTest, RefusesReferencesOfAnotherSize) {
  const std::vector<uint8_t> three = {1, 0, 1};
  const std::vector<double> el2n = {.1, .2, .3};
  for (const PoolReferences& references :
       {PoolReferences{.previous = PreviousPool{three, three}},
        PoolReferences{.el2n = el2n}, PoolReferences{.tile_sources = three}}) {
    EXPECT_EQ(FailureClassOf(Diagnose(references).status()),
              FailureClass::kData);
  }
}

TEST(Jaccard, OfTwoEmptySetsIsOne) {
  const std::vector<uint8_t> none = {0, 0};
  const std::vector<uint8_t> one = {0, 1};
  EXPECT_EQ(Jaccard(none, none), 1.0);
  EXPECT_EQ(Jaccard(none, one), 0.0);
}

}  // namespace
}  // namespace dasm
