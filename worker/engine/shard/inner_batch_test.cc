#include "worker/engine/shard/inner_batch.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"

namespace dasm {
namespace {

constexpr ImageShape kShape = {2, 8, 8};
constexpr int kClasses = 3;
constexpr int64_t kImages = 12;
constexpr int64_t kBatch = 7;
constexpr int64_t kGroup = 2;  // shards of 2, 2, 2 and 1
constexpr int kSteps = 3;
constexpr double kRate = 0.2;

// What a trajectory matcher differentiates: the distance of theta after
// kSteps of SGD on batches of synthetic images from a target.
struct Problem {
  std::unique_ptr<Network> network;
  at::Tensor start;
  at::Tensor target;
  at::Tensor images;
  at::Tensor labels;                // hard, or logits [kImages, kClasses]
  std::vector<at::Tensor> batches;  // indices of each step
};

Problem MakeProblem(Norm norm, bool soft, at::ScalarType dtype = at::kDouble) {
  Problem problem;
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 4;
  spec.norm = norm;
  problem.network = *MakeNetwork(spec, kShape, kClasses);
  const at::Tensor p =
      problem.network->Initialize(RandomStream(3, "test")).to(dtype);
  problem.start = p;
  problem.target = p + 0.05 * TestTensor(p.sizes(), 0.3).to(dtype);
  problem.images = TestTensor({kImages, 2, 8, 8}, 1.1).to(dtype);
  problem.labels = soft ? 2 * TestTensor({kImages, kClasses}, 2).to(dtype)
                        : at::arange(kImages, at::kLong) % kClasses;
  // An image takes part in several steps.
  for (int k = 0; k < kSteps; ++k) {
    problem.batches.push_back((at::arange(kBatch, at::kLong) * 5 + 3 * k) %
                              kImages);
  }
  return problem;
}

struct Derivatives {
  at::Tensor loss;
  at::Tensor images;
  at::Tensor rate;
};

// One graph through all steps.
Derivatives FullGraph(const Problem& problem) {
  const at::Tensor images = problem.images.clone().requires_grad_();
  const at::Tensor rate =
      at::full({}, kRate, problem.images.options()).requires_grad_();
  at::Tensor theta = problem.start.clone().requires_grad_();
  for (const at::Tensor& batch : problem.batches) {
    const at::Tensor logits = problem.network->Forward(
        problem.network->Slice(theta), images.index_select(0, batch),
        BufferMode::kTrain);
    const at::Tensor labels = problem.labels.index_select(0, batch);
    const at::Tensor loss = at::cross_entropy_loss(
        logits, labels.dim() == 1 ? labels : at::softmax(labels, 1));
    const at::Tensor gradient =
        torch::autograd::grad({loss}, {theta}, {}, true, true)[0];
    theta = theta - rate * gradient;
  }
  const at::Tensor distance = (theta - problem.target).square().sum();
  const auto derivatives =
      torch::autograd::grad({distance}, {images, rate}, {});
  return {distance.detach(), derivatives[0], derivatives[1]};
}

// The step adjoint: N parameter vectors stored, one step's graph at a time.
Derivatives StepAdjoint(const Problem& problem, Collective* collective) {
  const ShardRunner runner(collective, at::kCPU);
  const Network& network = *problem.network;
  std::vector<at::Tensor> thetas = {problem.start};
  std::vector<at::Tensor> gradients;
  const auto batch_of = [&](int k) {
    return InnerBatch{problem.images.index_select(0, problem.batches[k]),
                      problem.labels.index_select(0, problem.batches[k]),
                      kGroup};
  };
  for (int k = 0; k < kSteps; ++k) {
    const auto step = GradientOf(network, thetas[k], batch_of(k), runner);
    EXPECT_TRUE(step.ok()) << step.status();
    gradients.push_back(step->gradient.clone());
    thetas.push_back(thetas[k] - kRate * step->gradient);
  }
  const at::Tensor difference = thetas.back() - problem.target;
  at::Tensor lambda = 2 * difference;
  Derivatives result;
  result.loss = difference.square().sum();
  result.rate = at::zeros({}, problem.images.options());
  std::vector<at::Tensor> rows(kSteps);
  for (int k = kSteps - 1; k >= 0; --k) {
    result.rate = result.rate - (gradients[k] * lambda).sum();
    const auto adjoint =
        AdjointOf(network, thetas[k], batch_of(k), lambda, runner);
    EXPECT_TRUE(adjoint.ok()) << adjoint.status();
    rows[k] = -kRate * adjoint->image_rows;
    lambda = lambda - kRate * adjoint->parameters;
  }
  const auto all = GatherRows(network, rows, kGroup, runner);
  EXPECT_TRUE(all.ok()) << all.status();
  result.images = at::zeros_like(problem.images);
  for (int k = 0; k < kSteps; ++k) {
    result.images.index_add_(0, problem.batches[k], (*all)[k]);
  }
  return result;
}

double RelativeError(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

struct Case {
  Norm norm;
  bool soft;
};

class InnerBatchTest : public ::testing::TestWithParam<Case> {};

TEST_P(InnerBatchTest, StepAdjointEqualsTheFullGraphOnAnyNumberOfRanks) {
  const Problem problem = MakeProblem(GetParam().norm, GetParam().soft);
  const Derivatives full = FullGraph(problem);
  ASSERT_GT(full.images.norm().item<double>(), 0);
  SingleProcessCollective single;
  const Derivatives alone = StepAdjoint(problem, &single);
  EXPECT_LT(RelativeError(alone.loss, full.loss), 1e-12);
  EXPECT_LT(RelativeError(alone.images, full.images), 1e-12);
  EXPECT_LT(RelativeError(alone.rate, full.rate), 1e-12);
  for (int ranks = 2; ranks <= 4; ++ranks) {
    RunGang(ranks, [&](Collective* collective) {
      const Derivatives shared = StepAdjoint(problem, collective);
      EXPECT_TRUE(shared.loss.equal(alone.loss)) << ranks;
      EXPECT_TRUE(shared.images.equal(alone.images)) << ranks;
      EXPECT_TRUE(shared.rate.equal(alone.rate)) << ranks;
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Networks, InnerBatchTest,
                         ::testing::Values(Case{Norm::kInstance, false},
                                           Case{Norm::kInstance, true},
                                           Case{Norm::kBatch, false}));

TEST(InnerBatch, SinglePrecisionHasTheSameBitsOnAnyNumberOfRanks) {
  const Problem problem = MakeProblem(Norm::kInstance, false, at::kFloat);
  SingleProcessCollective single;
  const Derivatives alone = StepAdjoint(problem, &single);
  EXPECT_LT(RelativeError(alone.images, FullGraph(problem).images), 1e-5);
  for (int ranks = 2; ranks <= 4; ++ranks) {
    RunGang(ranks, [&](Collective* collective) {
      EXPECT_TRUE(StepAdjoint(problem, collective).images.equal(alone.images));
    });
  }
}

TEST(InnerBatch, KeptGraphsGiveTheSameAdjointAsNewOnes) {
  const Problem problem = MakeProblem(Norm::kInstance, true);
  const InnerBatch batch = {problem.images, problem.labels, 5};
  RunGang(2, [&](Collective* collective) {
    const ShardRunner runner(collective, at::kCPU);
    InnerGraph graph;
    const auto kept =
        GradientOf(*problem.network, problem.start, batch, runner, &graph);
    const auto step =
        GradientOf(*problem.network, problem.start, batch, runner);
    ASSERT_TRUE(kept.ok() && step.ok());
    EXPECT_TRUE(kept->gradient.equal(step->gradient));
    const auto again = AdjointOf(*problem.network, problem.start, batch,
                                 problem.target, runner);
    const auto from_kept =
        AdjointOf(*problem.network, problem.start, batch, problem.target,
                  runner, ByParameters::kWanted, &graph);
    ASSERT_TRUE(again.ok() && from_kept.ok());
    EXPECT_TRUE(again->product.equal(from_kept->product));
    EXPECT_TRUE(again->parameters.equal(from_kept->parameters));
    EXPECT_TRUE(again->image_rows.equal(from_kept->image_rows));
    EXPECT_TRUE(again->label_rows.equal(from_kept->label_rows));
    EXPECT_NEAR(again->product.item<double>(),
                (step->gradient * problem.target).sum().item<double>(), 1e-12);
  });
}

TEST(InnerBatch, LossIsTheMeanOverTheWholeBatch) {
  const Problem problem = MakeProblem(Norm::kNone, false);
  SingleProcessCollective single;
  const ShardRunner runner(&single, at::kCPU);
  const auto step = GradientOf(*problem.network, problem.start,
                               {problem.images, problem.labels, 5}, runner);
  ASSERT_TRUE(step.ok());
  const at::Tensor logits =
      problem.network->Forward(problem.network->Slice(problem.start),
                               problem.images, BufferMode::kTrain);
  EXPECT_NEAR(step->loss.item<double>(),
              at::cross_entropy_loss(logits, problem.labels).item<double>(),
              1e-12);
}

}  // namespace
}  // namespace dasm
