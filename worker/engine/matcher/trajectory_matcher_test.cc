#include "worker/engine/matcher/trajectory_matcher.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <ostream>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/step_graph_for_tests.h"
#include "worker/engine/matcher/trajectory_schedule.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"

namespace dasm {
namespace {

constexpr ImageShape kShape = {2, 8, 8};
constexpr int kClasses = 3;
constexpr int64_t kImages = 10;

struct Case {
  const char* name;
  Norm norm = Norm::kInstance;
  bool soft = false;
  bool augment = false;
  ParameterMask mask;
  int64_t group = 4;
  int64_t batch = 6;  // chunks of 4 and 6
  int steps = 5;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

struct Problem {
  std::unique_ptr<Network> network;
  StudentPath path;
};

Problem MakeProblem(const Case& c, at::ScalarType dtype = at::kDouble) {
  Problem problem;
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 4;
  spec.norm = c.norm;
  problem.network = *MakeNetwork(spec, kShape, kClasses);
  StudentPath& path = problem.path;
  path.start = problem.network->Initialize(RandomStream(3, "test")).to(dtype);
  path.target =
      path.start + 0.05 * TestTensor(path.start.sizes(), 0.3).to(dtype);
  path.images = TestTensor({kImages, 2, 8, 8}, 1.1).to(dtype);
  path.labels = c.soft ? 2 * TestTensor({kImages, kClasses}, 2).to(dtype)
                       : at::arange(kImages, at::kLong) % kClasses;
  path.step_size = 0.2;
  path.batches =
      DrawBatches(RandomStream(5, "batch"), 0, 0, kImages, c.batch, c.steps);
  if (c.augment) {
    const AugmentationOptions options = {
        AugmentationFlavour::kDsa,
        {Augmentation::kColor, Augmentation::kCrop, Augmentation::kCutout,
         Augmentation::kFlip, Augmentation::kScale, Augmentation::kRotate},
        /*align_corners=*/true};
    for (size_t i = 0; i < path.batches.size(); ++i) {
      path.augmentations.push_back(DrawAugmentation(
          options, RandomStream(7, "augmentation"), 0, static_cast<uint32_t>(i),
          static_cast<int64_t>(path.batches[i].size()), kShape));
    }
  }
  return problem;
}

struct Derivatives {
  at::Tensor loss;
  at::Tensor images;
  at::Tensor labels;
  at::Tensor step_size;
};

// One autograd graph through all steps, written down independently.
Derivatives Reference(const Problem& problem, const ParameterMask& mask) {
  const StudentPath& path = problem.path;
  const Network& network = *problem.network;
  const at::Tensor images = path.images.clone().requires_grad_();
  const bool soft = path.labels.dim() == 2;
  const at::Tensor labels =
      soft ? path.labels.clone().requires_grad_() : path.labels;
  const at::Tensor rate =
      at::full({}, path.step_size, images.options()).requires_grad_();
  at::Tensor theta = path.start.clone().requires_grad_();
  for (size_t i = 0; i < path.batches.size(); ++i) {
    const at::Tensor index = at::tensor(path.batches[i], at::kLong);
    at::Tensor batch = images.index_select(0, index);
    if (!path.augmentations.empty()) {
      batch = ApplyAugmentation(batch, path.augmentations[i]);
    }
    const at::Tensor target = labels.index_select(0, index);
    const at::Tensor loss = at::cross_entropy_loss(
        network.Forward(network.Slice(theta), batch, BufferMode::kTrain),
        soft ? at::softmax(target, 1) : target);
    theta = theta -
            rate * torch::autograd::grad({loss}, {theta}, {}, true, true)[0];
  }
  const int64_t total = network.parameters().total();
  const auto from = static_cast<int64_t>(mask.from * total);
  const auto to = static_cast<int64_t>(mask.to * total);
  at::Tensor error = (theta - path.target).square();
  at::Tensor moved = (path.start - path.target).square();
  error = at::cat({error.slice(0, 0, from), error.slice(0, to)});
  moved = at::cat({moved.slice(0, 0, from), moved.slice(0, to)});
  const auto smallest = static_cast<int64_t>(mask.smallest * error.numel());
  const at::Tensor order = error.detach().argsort().slice(0, smallest);
  const at::Tensor loss =
      error.index_select(0, order).sum() / moved.index_select(0, order).sum();
  std::vector<at::Tensor> inputs = {images, rate};
  if (soft) inputs.push_back(labels);
  const auto by = torch::autograd::grad({loss}, inputs);
  return {loss.detach(), by[0], soft ? by[2] : at::Tensor(), by[1]};
}

PathGradient Match(const Problem& problem, const Case& c, Estimator estimator,
                   Collective* collective) {
  const TrajectoryMatcher matcher(problem.network.get(),
                                  {estimator, c.mask, c.group});
  const auto gradient =
      matcher.Match(problem.path, ShardRunner(collective, at::kCPU));
  EXPECT_TRUE(gradient.ok()) << gradient.status();
  return *gradient;
}

PathGradient Match(const Problem& problem, const Case& c, Estimator estimator) {
  SingleProcessCollective single;
  return Match(problem, c, estimator, &single);
}

double RelativeError(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

double Cosine(const at::Tensor& a, const at::Tensor& b) {
  return ((a * b).sum() / (a.norm() * b.norm())).item<double>();
}

void ExpectClose(const PathGradient& gradient, const Derivatives& reference,
                 double tolerance) {
  ASSERT_GT(reference.images.norm().item<double>(), 0);
  EXPECT_LT(RelativeError(gradient.loss, reference.loss), tolerance);
  EXPECT_LT(RelativeError(gradient.images, reference.images), tolerance);
  EXPECT_LT(RelativeError(gradient.step_size, reference.step_size), tolerance);
  ASSERT_EQ(gradient.labels.defined(), reference.labels.defined());
  if (reference.labels.defined()) {
    EXPECT_LT(RelativeError(gradient.labels, reference.labels), tolerance);
  }
}

void ExpectSameBits(const PathGradient& a, const PathGradient& b) {
  EXPECT_TRUE(a.loss.equal(b.loss));
  EXPECT_TRUE(a.images.equal(b.images));
  EXPECT_TRUE(a.step_size.equal(b.step_size));
  EXPECT_TRUE(a.layer_share.equal(b.layer_share));
  ASSERT_EQ(a.labels.defined(), b.labels.defined());
  if (a.labels.defined()) {
    EXPECT_TRUE(a.labels.equal(b.labels));
  }
}

class TrajectoryMatcherTest : public ::testing::TestWithParam<Case> {};

TEST_P(TrajectoryMatcherTest, GivesTheGradientOfOneGraphThroughAllSteps) {
  const Problem problem = MakeProblem(GetParam());
  const Derivatives reference = Reference(problem, GetParam().mask);
  for (const Estimator estimator :
       {Estimator::kStepAdjoint, Estimator::kFullGraph}) {
    ExpectClose(Match(problem, GetParam(), estimator), reference, 1e-12);
  }
}

TEST_P(TrajectoryMatcherTest, GivesItInSinglePrecision) {
  const Problem problem = MakeProblem(GetParam(), at::kFloat);
  const PathGradient gradient =
      Match(problem, GetParam(), Estimator::kStepAdjoint);
  EXPECT_EQ(gradient.images.scalar_type(), at::kFloat);
  ExpectClose(gradient, Reference(problem, GetParam().mask), 1e-5);
}

TEST_P(TrajectoryMatcherTest, HasTheSameBitsOnAnyNumberOfRanks) {
  const Problem problem = MakeProblem(GetParam(), at::kFloat);
  for (const Estimator estimator :
       {Estimator::kStepAdjoint, Estimator::kFullGraph, Estimator::kTesla}) {
    const PathGradient alone = Match(problem, GetParam(), estimator);
    for (int ranks = 2; ranks <= 4; ++ranks) {
      RunGang(ranks, [&](Collective* collective) {
        ExpectSameBits(Match(problem, GetParam(), estimator, collective),
                       alone);
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Paths, TrajectoryMatcherTest,
    ::testing::Values(
        Case{.name = "Hard"}, Case{.name = "Soft", .soft = true},
        Case{.name = "Augmented", .soft = true, .augment = true, .steps = 9},
        Case{.name = "FirstThirdMasked", .mask = {0, 0.33, 0}},
        Case{.name = "RangeMasked", .soft = true, .mask = {0.4, 0.8, 0}},
        Case{.name = "SmallestMasked", .soft = true, .mask = {0.7, 1, 0.3}},
        Case{.name = "GroupsOfOne", .soft = true, .group = 1},
        Case{.name = "WholeSet", .group = 100, .batch = 0},
        Case{.name = "BatchNorm", .norm = Norm::kBatch, .soft = true},
        Case{.name = "NoNorm",
             .norm = Norm::kNone,
             .soft = true,
             .augment = true}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(TrajectoryMatcher, TeslaIsExactForOneStep) {
  const Case c = {.name = "", .soft = true, .steps = 1};
  const Problem problem = MakeProblem(c);
  ExpectClose(Match(problem, c, Estimator::kTesla), Reference(problem, {}),
              1e-12);
}

TEST(TrajectoryMatcher, TeslaIsBiasedForTenStepsInItsOwnDirection) {
  const Case c = {.name = "", .soft = true, .steps = 10};
  const Problem problem = MakeProblem(c);
  const PathGradient tesla = Match(problem, c, Estimator::kTesla);
  const Derivatives exact = Reference(problem, {});
  EXPECT_TRUE(tesla.loss.item<double>() == exact.loss.item<double>() ||
              RelativeError(tesla.loss, exact.loss) < 1e-12);
  EXPECT_LT(Cosine(tesla.images, exact.images), 0.9999);
  EXPECT_GT(Cosine(tesla.images, exact.images), 0.5);
  EXPECT_GT(RelativeError(tesla.labels, exact.labels), 1e-3);
  EXPECT_GT(RelativeError(tesla.step_size, exact.step_size), 1e-3);
}

// dL/dX = sum over i of d/dX <2 (alpha (target - start) + alpha^2 G) / D, g_i>
// with every theta_i a constant (Cui et al. 2023, eq. 6 with the factor 2).
TEST(TrajectoryMatcher, TeslaIsTheFormulaOfItsPaperWithTheFactorTwo) {
  const Case c = {.name = "", .steps = 4};
  const Problem problem = MakeProblem(c);
  const StudentPath& path = problem.path;
  const Network& network = *problem.network;
  const auto gradient_at = [&](const at::Tensor& theta,
                               const at::Tensor& images, size_t i) {
    const at::Tensor index = at::tensor(path.batches[i], at::kLong);
    const at::Tensor leaf = theta.detach().clone().requires_grad_();
    const at::Tensor loss = at::cross_entropy_loss(
        network.Forward(network.Slice(leaf), images.index_select(0, index),
                        BufferMode::kTrain),
        path.labels.index_select(0, index));
    return torch::autograd::grad({loss}, {leaf}, {}, true, true)[0];
  };
  std::vector<at::Tensor> thetas = {path.start};
  at::Tensor sum = at::zeros_like(path.start);
  for (size_t i = 0; i < path.batches.size(); ++i) {
    const at::Tensor g = gradient_at(thetas[i], path.images, i).detach();
    sum = sum + g;
    thetas.push_back(thetas[i] - path.step_size * g);
  }
  const double alpha = path.step_size;
  const at::Tensor distance = (path.start - path.target).square().sum();
  const at::Tensor bracket =
      2 * (alpha * (path.target - path.start) + alpha * alpha * sum) / distance;
  const at::Tensor images = path.images.clone().requires_grad_();
  at::Tensor product = at::zeros({}, images.options());
  for (size_t i = 0; i < path.batches.size(); ++i) {
    product = product + (bracket * gradient_at(thetas[i], images, i)).sum();
  }
  const at::Tensor by_images = torch::autograd::grad({product}, {images})[0];
  const at::Tensor by_alpha =
      -2 * (sum * (path.start - alpha * sum - path.target)).sum() / distance;
  const PathGradient tesla = Match(problem, c, Estimator::kTesla);
  EXPECT_LT(RelativeError(tesla.images, by_images), 1e-12);
  EXPECT_LT(RelativeError(tesla.step_size, by_alpha), 1e-12);
}

TEST(TrajectoryMatcher, EmptyMaskChangesNoBit) {
  const Case c = {.name = "", .soft = true};
  Case masked = c;
  masked.mask = {0.25, 0.25, 0};
  const Problem problem = MakeProblem(c, at::kFloat);
  ExpectSameBits(Match(problem, masked, Estimator::kStepAdjoint),
                 Match(problem, c, Estimator::kStepAdjoint));
}

TEST(TrajectoryMatcher, LossAloneHasTheBitsOfTheWholePass) {
  const Case c = {.name = "", .soft = true, .augment = true};
  const Problem problem = MakeProblem(c, at::kFloat);
  SingleProcessCollective single;
  const auto loss = TrajectoryMatcher(problem.network.get(),
                                      {Estimator::kFullGraph, c.mask, c.group})
                        .Loss(problem.path, ShardRunner(&single, at::kCPU));
  ASSERT_TRUE(loss.ok());
  EXPECT_TRUE(
      loss->loss.equal(Match(problem, c, Estimator::kStepAdjoint).loss));
}

TEST(TrajectoryMatcher, ImagesOfNoBatchHaveNoGradient) {
  Case c = {.name = "", .batch = 4, .steps = 1};
  const Problem problem = MakeProblem(c);
  const PathGradient gradient = Match(problem, c, Estimator::kStepAdjoint);
  std::vector<bool> used(kImages);
  for (const int64_t row : problem.path.batches[0]) used[row] = true;
  for (int64_t i = 0; i < kImages; ++i) {
    EXPECT_EQ(gradient.images[i].abs().max().item<double>() > 0, used[i]) << i;
  }
}

TEST(TrajectoryMatcher, RecordedStepsHaveTheBitsOfCalledOnes) {
  for (const auto& [soft, norm] :
       {std::pair(false, Norm::kInstance), std::pair(true, Norm::kInstance),
        std::pair(true, Norm::kBatch)}) {
    Case c;
    c.soft = soft;
    c.norm = norm;
    c.augment = true;
    c.steps = 8;
    Problem problem = MakeProblem(c);
    ReplayCounts counts;
    ReplayingStepGraph graph(&counts);
    const TrajectoryMatcher matcher(problem.network.get(),
                                    {Estimator::kStepAdjoint, c.mask, c.group},
                                    &graph);
    SingleProcessCollective single;
    for (int path = 0; path < 2; ++path) {
      const HostReadCounter counter;
      const auto recorded =
          matcher.Match(problem.path, ShardRunner(&single, at::kCPU));
      EXPECT_EQ(counter.reads(), 0);
      ASSERT_TRUE(recorded.ok()) << recorded.status();
      const PathGradient called =
          Match(problem, c, Estimator::kStepAdjoint, &single);
      EXPECT_TRUE(recorded->loss.equal(called.loss));
      EXPECT_TRUE(recorded->images.equal(called.images));
      EXPECT_TRUE(recorded->step_size.equal(called.step_size));
      if (soft) {
        EXPECT_TRUE(recorded->labels.equal(called.labels));
      }
      problem.path.step_size *= 0.5;
    }
    EXPECT_GT(counts.runs, counts.records);
    EXPECT_EQ(counts.host_reads, 0);
  }
}

}  // namespace
}  // namespace dasm
