#include "worker/engine/teacher/expert_trainer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/step_graph_for_tests.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"
#include "worker/engine/teacher/gsam.h"

namespace dasm {
namespace {

constexpr int64_t kImages = 20;

class ExpertTrainerTest : public ::testing::Test {
 protected:
  ExpertTrainerTest()
      : source_(TestTensor({kImages, 2, 8, 8}).to(at::kFloat), Labels()) {
    spec_.depth = 2;
    spec_.width = 6;
    execution_.train_group = 3;
    using enum Augmentation;
    training_.augmentation = {kColor, kCrop, kCutout, kFlip, kScale, kRotate};
    training_.learning_rate = 0.1;
  }

  static std::vector<int64_t> Labels() {
    std::vector<int64_t> labels(kImages);
    for (int64_t i = 0; i < kImages; ++i) labels[i] = i % 3;
    return labels;
  }

  // After `steps` steps on batches of 8 images. A step reads no value.
  TrainingState Train(int steps, Collective* collective,
                      StepGraph* graph = nullptr) {
    const auto network = *MakeNetwork(spec_, source_.shape(), 3);
    ExpertTrainer trainer(network.get(), training_, execution_, /*seed=*/9,
                          collective, at::kCPU, graph);
    TrainingState state = trainer.Start();
    for (int s = 0; s < steps; ++s) {
      std::vector<int64_t> indices(8);
      std::iota(indices.begin(), indices.end(), s % 12);
      const HostReadCounter counter;
      const auto step = trainer.Step(source_, indices,
                                     {0, static_cast<uint32_t>(s)}, 0, &state);
      EXPECT_EQ(counter.reads(), 0);
      EXPECT_TRUE(step.ok()) << step.status();
      EXPECT_TRUE(step->loss.isfinite().item<bool>());
    }
    return state;
  }
  TrainingState Train(int steps) {
    SingleProcessCollective alone;
    return Train(steps, &alone);
  }

  NetworkSpec spec_;
  ExecutionSpec execution_;
  ExpertTraining training_;
  TensorSource source_;
};

TEST_F(ExpertTrainerTest, GsamWithoutRhoIsSgd) {
  const TrainingState sgd = Train(5);
  training_.optimizer = ExpertOptimizer::kGsam;
  training_.gsam_rho = 0;
  const TrainingState gsam = Train(5);
  EXPECT_LT((gsam.parameters - sgd.parameters).abs().max().item<double>(),
            1e-6);
  training_.gsam_rho = 0.05;
  EXPECT_GT((Train(5).parameters - sgd.parameters).abs().max().item<double>(),
            1e-5);
}

TEST_F(ExpertTrainerTest, RecordedStepsHaveTheBitsOfCalledOnes) {
  for (ExpertOptimizer optimizer :
       {ExpertOptimizer::kSgd, ExpertOptimizer::kGsam}) {
    training_.optimizer = optimizer;
    training_.gsam_rho = 0.1;
    ReplayCounts counts;
    ReplayingStepGraph graph(&counts);
    SingleProcessCollective alone;
    EXPECT_TRUE(
        Train(12, &alone, &graph).parameters.equal(Train(12).parameters));
    EXPECT_GT(counts.runs, counts.records);
    EXPECT_EQ(counts.host_reads, 0);
  }
}

// Both gradients by the network's own forward pass, in fp64.
TEST_F(ExpertTrainerTest, StepIsThePublishedFormula) {
  training_.optimizer = ExpertOptimizer::kGsam;
  training_.gsam_rho = 0.1;
  training_.augmentation = {};
  const auto network = *MakeNetwork(spec_, source_.shape(), 3);
  const TrainingState start = Train(0);
  std::vector<int64_t> indices(8);
  std::iota(indices.begin(), indices.end(), 0);
  const at::Tensor images = source_.Normalised(indices).to(at::kDouble);
  const at::Tensor labels = source_.Labels(indices);
  const auto gradient = [&](const at::Tensor& w) {
    const at::Tensor leaf = w.detach().requires_grad_();
    const at::Tensor loss = at::cross_entropy_loss(
        network->Forward(network->Slice(leaf), images, BufferMode::kTrain),
        labels);
    return torch::autograd::grad({loss}, {leaf})[0];
  };
  const at::Tensor w = start.parameters.to(at::kDouble);
  const at::Tensor g = gradient(w);
  const at::Tensor second = gradient(GsamAscent(w, g, 0.1));
  const at::Tensor expected =
      w - 0.1 * GsamDirection(g, second, training_.gsam_alpha);
  EXPECT_LT((Train(1).parameters - expected).abs().max().item<double>(), 1e-6);
  EXPECT_GT((second - g).abs().max().item<double>(), 1e-4);
}

TEST_F(ExpertTrainerTest, AnyNumberOfRanksGivesTheSameBits) {
  training_.optimizer = ExpertOptimizer::kGsam;
  const TrainingState alone = Train(3);
  for (int ranks : {2, 3}) {
    RunGang(ranks, [&](Collective* collective) {
      EXPECT_TRUE(Train(3, collective).parameters.equal(alone.parameters))
          << ranks;
    });
  }
}

// The second pass would move them once more.
TEST_F(ExpertTrainerTest, RunningStatisticsAreThoseOfTheFirstPass) {
  spec_.norm = Norm::kBatch;
  const TrainingState sgd = Train(1);
  training_.optimizer = ExpertOptimizer::kGsam;
  training_.gsam_rho = 0.2;
  const TrainingState gsam = Train(1);
  EXPECT_TRUE(gsam.buffers.equal(sgd.buffers));
  EXPECT_FALSE(gsam.parameters.equal(sgd.parameters));
}

TEST_F(ExpertTrainerTest, MomentumAndWeightDecayActOnTheDirection) {
  training_.augmentation = {};
  const TrainingState start = Train(0);
  const TrainingState plain = Train(1);
  training_.weight_decay = 0.5;
  const TrainingState decayed = Train(1);
  EXPECT_LT(
      (plain.parameters - decayed.parameters - 0.1 * 0.5 * start.parameters)
          .abs()
          .max()
          .item<double>(),
      1e-6);
}

}  // namespace
}  // namespace dasm
