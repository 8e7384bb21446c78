#include "worker/engine/matcher/gradient_matcher.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "worker/collective/process_gang_for_tests.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/step_graph_for_tests.h"
#include "worker/engine/matcher/distance.h"
#include "worker/engine/shard/gang_for_tests.h"

namespace dasm {
namespace {

// A network of width 4 and two classes' worth of images, in double precision.
class GradientMatcherTest : public ::testing::Test {
 protected:
  static constexpr ImageShape kShape = {2, 8, 8};
  static constexpr int kClasses = 3;

  GradientMatcherTest() {
    NetworkSpec spec;
    spec.depth = 2;
    spec.width = 4;
    network_ = *MakeNetwork(spec, kShape, kClasses);
    parameters_ =
        network_->Initialize(RandomStream(5, "test.init")).to(at::kDouble);
    options_.distance = Distance::kMse;
    options_.formation = MultiFormation(2);
    options_.normalization = {{0.4, 0.5}, {0.2, 0.3}};
    draw_ = DrawSharedAugmentation(
        {AugmentationFlavour::kIdc,
         {Augmentation::kColor, Augmentation::kCrop, Augmentation::kCutout}},
        RandomStream(5, "test.augmentation"), 0, 0, 0, kShape);
    batch_.label = 1;
    batch_.real = Pixels(6, 0.3);
    batch_.stored = at::sigmoid(Pixels(2, 1.1));
    batch_.augmentation = &draw_;
  }

  static at::Tensor Pixels(int64_t n, double phase) {
    return at::sin(at::arange(n * kShape.elements(), at::kDouble) * 2.3 + phase)
        .view({n, kShape.channels, kShape.height, kShape.width});
  }

  double DistanceAt(const at::Tensor& stored) {
    ClassBatch batch = batch_;
    batch.stored = stored;
    return GradientMatcher(network_.get(), options_)
        .Match(parameters_, batch)
        .distance.item<double>();
  }

  // The largest error of the gradient of `pixels` randomly chosen pixels.
  void ExpectFiniteDifferences(int pixels) {
    const at::Tensor exact = GradientMatcher(network_.get(), options_)
                                 .Match(parameters_, batch_)
                                 .gradient.contiguous();
    ASSERT_EQ(exact.sizes(), batch_.stored.sizes());
    RandomSequence random = RandomStream(9, "test.pixels").At();
    const double scale = exact.abs().max().item<double>();
    ASSERT_GT(scale, 0);
    for (int i = 0; i < pixels; ++i) {
      const int64_t k = random.Below(exact.numel());
      // Small enough that ReLU hardly ever changes side.
      constexpr double kStep = 1e-6;
      at::Tensor above = batch_.stored.clone();
      above.data_ptr<double>()[k] += kStep;
      at::Tensor below = batch_.stored.clone();
      below.data_ptr<double>()[k] -= kStep;
      const double difference =
          (DistanceAt(above) - DistanceAt(below)) / (2 * kStep);
      EXPECT_NEAR(difference, exact.data_ptr<double>()[k], 1e-5 * scale) << k;
    }
  }

  std::unique_ptr<Network> network_;
  at::Tensor parameters_;
  GradientMatcher::Options options_;
  AugmentationDraw draw_;
  ClassBatch batch_;
};

TEST_F(GradientMatcherTest, DistanceIsThatOfTheGradientsOfTheMeanLosses) {
  // The same by other means: the whole gradient of both sides.
  const auto gradient = [&](const at::Tensor& images) {
    std::vector<at::Tensor> slices = network_->Slice(parameters_);
    for (at::Tensor& slice : slices) slice = slice.clone().requires_grad_();
    const at::Tensor logits =
        network_->Forward(slices, images, BufferMode::kTrain);
    const at::Tensor loss =
        -at::log_softmax(logits, 1).select(1, batch_.label).mean();
    return torch::autograd::grad({loss}, slices);
  };
  const at::Tensor decoded =
      options_.normalization.Apply(options_.formation.Decode(batch_.stored));
  const auto a = gradient(ApplyAugmentation(decoded, draw_));
  const auto b = gradient(ApplyAugmentation(batch_.real, draw_));
  double convolutions = 0, weights = 0, all = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double part = (a[i] - b[i]).square().sum().item<double>();
    if (a[i].dim() == 4) convolutions += part;
    if (a[i].dim() > 1) weights += part;
    all += part;
  }
  options_.layers = Layers::kConvolutions;
  EXPECT_NEAR(DistanceAt(batch_.stored), convolutions, 1e-12 * all);
  options_.layers = Layers::kWeights;
  EXPECT_NEAR(DistanceAt(batch_.stored), weights, 1e-12 * all);
  options_.layers = Layers::kAll;
  EXPECT_NEAR(DistanceAt(batch_.stored), all, 1e-12 * all);
  EXPECT_LT(convolutions, weights);
  EXPECT_LT(weights, all);
}

TEST_F(GradientMatcherTest, PixelGradientAgreesWithFiniteDifferences) {
  for (Distance distance : {Distance::kMse, Distance::kCosine, Distance::kL1}) {
    for (Layers layers : {Layers::kConvolutions, Layers::kAll}) {
      options_.distance = distance;
      options_.layers = layers;
      ExpectFiniteDifferences(24);
    }
  }
}

TEST_F(GradientMatcherTest, PixelGradientIsRightForASideThatDoesNotDivide) {
  options_.formation = MultiFormation(3);
  ExpectFiniteDifferences(24);
}

TEST_F(GradientMatcherTest, PixelGradientIsRightWithBatchNorm) {
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 4;
  spec.norm = Norm::kBatch;
  network_ = *MakeNetwork(spec, kShape, kClasses);
  parameters_ =
      network_->Initialize(RandomStream(5, "test.init")).to(at::kDouble);
  ExpectFiniteDifferences(24);
}

TEST_F(GradientMatcherTest, OnlyTheChosenDecodedImagesTakePart) {
  // Tile (0, 1) of stored image 1: decoded image 1 * 2 + 1.
  const std::vector<int64_t> chosen = {3};
  batch_.decoded = chosen;
  ExpectFiniteDifferences(24);
  const at::Tensor gradient = GradientMatcher(network_.get(), options_)
                                  .Match(parameters_, batch_)
                                  .gradient;
  at::Tensor elsewhere = gradient.clone();
  elsewhere[1].slice(1, 0, 4).slice(2, 4, 8).zero_();
  EXPECT_EQ(elsewhere.abs().max().item<double>(), 0);
  EXPECT_GT(gradient.abs().max().item<double>(), 0);
}

TEST_F(GradientMatcherTest, RealImagesMatchThemselves) {
  options_.formation = MultiFormation(1);
  options_.normalization = {{0, 0}, {1, 1}};
  batch_.real = batch_.stored;
  const ClassMatch match =
      GradientMatcher(network_.get(), options_).Match(parameters_, batch_);
  // Both sides compute the same but for the order of sums: the one with a graph
  // may take another convolution kernel.
  EXPECT_LT(match.distance.item<double>(), 1e-24);
  EXPECT_LT(match.gradient.abs().max().item<double>(), 1e-12);
}

// Of one class cut into parts of `micro_batch` images, on `ranks` ranks.
ClassMatch InParts(const GradientMatcher& matcher, const at::Tensor& parameters,
                   const ClassBatch& batch, int64_t micro_batch, int ranks) {
  std::vector<ClassMatch> all(ranks);
  RunGang(ranks, [&](Collective* collective) {
    auto match = matcher.MatchInParts(parameters, batch, micro_batch,
                                      ShardRunner(collective, at::kCPU));
    ASSERT_TRUE(match.ok()) << match.status();
    all[collective->rank()] = *std::move(match);
  });
  for (const ClassMatch& match : all) {
    EXPECT_TRUE(match.distance.equal(all[0].distance));
    EXPECT_TRUE(match.gradient.equal(all[0].gradient));
  }
  return all[0];
}

TEST_F(GradientMatcherTest, PartsGiveTheWholeBatchOnAnyNumberOfRanks) {
  const std::vector<int64_t> chosen = {0, 1, 3, 4, 6};
  for (const bool all : {true, false}) {
    if (!all) batch_.decoded = chosen;
    for (Distance distance :
         {Distance::kMse, Distance::kCosine, Distance::kL1}) {
      for (Layers layers : {Layers::kConvolutions, Layers::kAll}) {
        options_.distance = distance;
        options_.layers = layers;
        const GradientMatcher matcher(network_.get(), options_);
        const ClassMatch whole = matcher.Match(parameters_, batch_);
        // Parts of 6 real and 8 or 5 synthetic images; 64 is one part.
        for (int64_t micro_batch : {1, 3, 4, 64}) {
          const ClassMatch parts =
              InParts(matcher, parameters_, batch_, micro_batch, 1);
          EXPECT_NEAR(parts.distance.item<double>(),
                      whole.distance.item<double>(),
                      1e-12 * whole.distance.item<double>());
          EXPECT_LT((parts.gradient - whole.gradient).norm().item<double>(),
                    1e-12 * whole.gradient.norm().item<double>())
              << micro_batch;
          for (int ranks = 2; ranks <= 4; ++ranks) {
            const ClassMatch shared =
                InParts(matcher, parameters_, batch_, micro_batch, ranks);
            EXPECT_TRUE(shared.distance.equal(parts.distance)) << ranks;
            EXPECT_TRUE(shared.gradient.equal(parts.gradient)) << ranks;
          }
        }
      }
    }
  }
}

TEST_F(GradientMatcherTest, PartsInSinglePrecisionHaveTheSameBitsOnAnyRanks) {
  parameters_ = parameters_.to(at::kFloat);
  batch_.real = batch_.real.to(at::kFloat);
  batch_.stored = batch_.stored.to(at::kFloat);
  const GradientMatcher matcher(network_.get(), options_);
  const ClassMatch alone = InParts(matcher, parameters_, batch_, 3, 1);
  for (int ranks = 2; ranks <= 4; ++ranks) {
    const ClassMatch shared = InParts(matcher, parameters_, batch_, 3, ranks);
    EXPECT_TRUE(shared.distance.equal(alone.distance)) << ranks;
    EXPECT_TRUE(shared.gradient.equal(alone.gradient)) << ranks;
  }
}

// mse is smooth: the tolerance of the sums, times the network's conditioning.
TEST_F(GradientMatcherTest, PartsOfAFastReductionAreWithinTheirTolerance) {
  parameters_ = parameters_.to(at::kFloat);
  batch_.real = batch_.real.to(at::kFloat);
  batch_.stored = batch_.stored.to(at::kFloat);
  const GradientMatcher matcher(network_.get(), options_);
  const ClassMatch alone = InParts(matcher, parameters_, batch_, 1, 1);
  const JoinedGang gang({2, 1}, ProcessGang::Options{Reduction::kFast});
  RunRanks(gang.ranks, [&](Collective* collective) {
    const auto shared = matcher.MatchInParts(parameters_, batch_, 1,
                                             ShardRunner(collective, at::kCPU));
    ASSERT_TRUE(shared.ok()) << shared.status();
    EXPECT_LT((shared->gradient - alone.gradient).norm().item<double>(),
              1e-5 * alone.gradient.norm().item<double>());
  });
}

TEST_F(GradientMatcherTest, RecordedStepsHaveTheBitsOfCalledOnes) {
  SingleProcessCollective single;
  const ShardRunner runner(&single, at::kCPU);
  const std::vector<std::vector<int64_t>> choices = {{}, {1, 3, 5}, {0, 1, 2}};
  for (bool parts : {false, true}) {
    ReplayCounts counts;
    ReplayingStepGraph graph(&counts);
    const GradientMatcher recorded(network_.get(), options_, &graph);
    const GradientMatcher called(network_.get(), options_);
    const HostReadCounter counter;
    for (int step = 0; step < 9; ++step) {
      batch_.label = step % kClasses;
      batch_.real = Pixels(6, step);
      batch_.decoded = choices[step / kClasses];
      const auto match = [&](const GradientMatcher& matcher) {
        return parts ? *matcher.MatchInParts(parameters_, batch_, 4, runner)
                     : matcher.Match(parameters_, batch_);
      };
      const ClassMatch expected = match(called);
      const ClassMatch got = match(recorded);
      EXPECT_EQ(counter.reads(), 0);
      ASSERT_EQ(std::memcmp(got.gradient.const_data_ptr(),
                            expected.gradient.const_data_ptr(),
                            expected.gradient.nbytes()),
                0)
          << step;
      ASSERT_EQ(*got.distance.const_data_ptr<double>(),
                *expected.distance.const_data_ptr<double>());
    }
    EXPECT_GT(counts.runs, counts.records);
  }
}

TEST_F(GradientMatcherTest, BatchNormHasNoParts) {
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 4;
  spec.norm = Norm::kBatch;
  network_ = *MakeNetwork(spec, kShape, kClasses);
  parameters_ =
      network_->Initialize(RandomStream(5, "test.init")).to(at::kDouble);
  const GradientMatcher matcher(network_.get(), options_);
  SingleProcessCollective single;
  const ShardRunner runner(&single, at::kCPU);
  EXPECT_THROW((void)matcher.MatchInParts(parameters_, batch_, 3, runner),
               c10::Error);
}

TEST_F(GradientMatcherTest, LeavesNoGraphBehind) {
  const ClassMatch match =
      GradientMatcher(network_.get(), options_).Match(parameters_, batch_);
  EXPECT_FALSE(match.gradient.requires_grad());
  EXPECT_FALSE(parameters_.requires_grad());
  EXPECT_FALSE(batch_.stored.requires_grad());
}

}  // namespace
}  // namespace dasm
