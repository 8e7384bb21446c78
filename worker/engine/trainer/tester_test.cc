#include "worker/engine/trainer/tester.h"

#include <ATen/ATen.h>

#include <memory>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"

namespace dasm {
namespace {

class TesterTest : public ::testing::TestWithParam<Norm> {
 protected:
  TesterTest() {
    NetworkSpec spec;
    spec.depth = 2;
    spec.width = 8;
    spec.norm = GetParam();
    network_ = *MakeNetwork(spec, {2, 8, 8}, 3);
    parameters_ = network_->Initialize(RandomStream(1, "test"));
    buffers_ = network_->InitialBuffers();
    if (buffers_.numel() > 0) buffers_.add_(0.25);
    execution_.forward_group = 6;
  }

  std::unique_ptr<Network> network_;
  at::Tensor parameters_;
  at::Tensor buffers_;
  const at::Tensor images_ = TestTensor({20, 2, 8, 8}).to(at::kFloat);
  const TensorSource source_{images_, std::vector<int64_t>(20, 1)};
  ExecutionSpec execution_;
};

TEST_P(TesterTest, GroupsGiveWhatOneImageAtATimeGives) {
  SingleProcessCollective collective;
  const auto logits = Logits(*network_, parameters_, buffers_, source_,
                             execution_, &collective);
  ASSERT_TRUE(logits.ok()) << logits.status();
  ASSERT_EQ(logits->sizes(), (std::vector<int64_t>{20, 3}));
  EXPECT_FALSE(logits->requires_grad());
  for (int64_t i = 0; i < 20; ++i) {
    const at::Tensor alone =
        network_->Forward(network_->Slice(parameters_), images_.narrow(0, i, 1),
                          BufferMode::kEval, buffers_);
    EXPECT_TRUE((*logits)[i].allclose(alone[0], 1e-5, 1e-5)) << i;
  }
}

TEST_P(TesterTest, NumberOfRanksDoesNotChangeABit) {
  SingleProcessCollective single;
  const at::Tensor alone =
      *Logits(*network_, parameters_, buffers_, source_, execution_, &single);
  for (int ranks = 2; ranks <= 4; ++ranks) {
    RunGang(ranks, [&](Collective* collective) {
      const auto logits = Logits(*network_, parameters_, buffers_, source_,
                                 execution_, collective);
      ASSERT_TRUE(logits.ok()) << logits.status();
      EXPECT_TRUE(logits->equal(alone));
    });
  }
}

INSTANTIATE_TEST_SUITE_P(EveryNorm, TesterTest,
                         ::testing::Values(Norm::kNone, Norm::kInstance,
                                           Norm::kBatch));

TEST(Predictions, TakeTheFirstOfEqualLogits) {
  const at::Tensor logits =
      at::tensor({1.f, 3.f, 3.f, -1.f, -2.f, -1.f}).view({2, 3});
  EXPECT_TRUE(Predictions(logits).equal(at::tensor({1, 0}, at::kInt)));
}

TEST(Accuracy, IsThePercentageOfRightPredictions) {
  EXPECT_DOUBLE_EQ(Accuracy(at::tensor({0, 1, 2, 2}, at::kInt), {0, 1, 0, 2}),
                   75);
}

}  // namespace
}  // namespace dasm
