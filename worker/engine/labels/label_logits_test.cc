#include "worker/engine/labels/label_logits.h"

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/step_graph_for_tests.h"
#include "worker/engine/labels/experts_for_tests.h"
#include "worker/engine/shard/gang_for_tests.h"

namespace dasm {
namespace {

const LinearAnswer kAlwaysA = {{0, 0, 0}, {2, 0, 0}};
const LinearAnswer kAlwaysB = {{0, 0, 0}, {0, 4, 1}};
// "a" when dark, "b" when bright.
const LinearAnswer kByLevel = {{-2, 2, 0}, {1, -1, 0}};

class LabelLogitsTest : public ::testing::Test {
 protected:
  LabelLogitsTest() : tests_({51, 51, 204, 255}, {0, 1, 1, 2}) {}

  LabelLogits Labels(LabelExperts which, int epoch = -1) {
    SingleProcessCollective alone;
    return *InitialLabelLogits(Machine(&alone), tests_.experts(), which, epoch,
                               Images(), at::tensor({0, 1, 1, 2}, at::kLong));
  }
  LabelMachine Machine(Collective* collective) {
    return {tests_.network(), execution_, collective, at::kCPU};
  }
  at::Tensor Images() { return tests_.data().train().Normalised({0, 1, 2, 3}); }

  ExecutionSpec execution_;
  ExpertsForTests tests_;
};

void ExpectRow(const at::Tensor& row, std::vector<double> expected) {
  const at::Tensor difference =
      row.to(at::kDouble) - at::tensor(expected, at::kDouble);
  EXPECT_LT(difference.abs().max().item<double>(), 1e-6) << row;
}

TEST_F(LabelLogitsTest, AverageIsOverTheExpertsThatAreRightAboutTheImage) {
  tests_.Add({kAlwaysA});
  tests_.Add({kAlwaysB});
  tests_.Add({kByLevel});
  const LabelLogits labels = Labels(LabelExperts::kAllCorrect);
  // Dark "a": the first and the third expert; dark "b": the second alone.
  ExpectRow(labels.logits[0], {(2 + 0.6) / 2, -0.6 / 2, 0});
  ExpectRow(labels.logits[1], {0, 4, 1});
  // Bright "b": the second and the third.
  ExpectRow(labels.logits[2], {-0.6 / 2, 4.6 / 2, 0.5});
}

TEST_F(LabelLogitsTest, ImageThatNoExpertGetsRightHasTheMeanOverAll) {
  tests_.Add({kAlwaysA});
  tests_.Add({kAlwaysB});
  const LabelLogits labels = Labels(LabelExperts::kAllCorrect);
  EXPECT_EQ(labels.unrecognised, (std::vector<int64_t>{3}));
  ExpectRow(labels.logits[3], {1, 2, 0.5});
  EXPECT_TRUE(labels.logits.isfinite().all().item<bool>());
}

TEST_F(LabelLogitsTest, FirstExpertLabelsAllRightOrWrong) {
  tests_.Add({kAlwaysA});
  tests_.Add({kAlwaysB});
  const LabelLogits labels = Labels(LabelExperts::kFirst);
  for (int64_t i = 0; i < 4; ++i) ExpectRow(labels.logits[i], {2, 0, 0});
  EXPECT_TRUE(labels.unrecognised.empty());
}

TEST_F(LabelLogitsTest, EpochChoosesTheExpertsRow) {
  tests_.Add({kAlwaysA, kAlwaysB, kByLevel});
  ExpectRow(Labels(LabelExperts::kFirst, 0).logits[0], {2, 0, 0});
  ExpectRow(Labels(LabelExperts::kFirst, 1).logits[0], {0, 4, 1});
  ExpectRow(Labels(LabelExperts::kFirst, -1).logits[0], {0.6, -0.6, 0});
}

TEST_F(LabelLogitsTest, HaveTheSameBitsOnAnyNumberOfRanks) {
  tests_.Add({kByLevel});
  tests_.Add({kAlwaysB});
  execution_.forward_group = 1;
  const LabelLogits alone = Labels(LabelExperts::kAllCorrect);
  RunGang(3, [&](Collective* collective) {
    const auto shared = InitialLabelLogits(
        Machine(collective), tests_.experts(), LabelExperts::kAllCorrect, -1,
        Images(), at::tensor({0, 1, 1, 2}, at::kLong));
    ASSERT_TRUE(shared.ok()) << shared.status();
    EXPECT_TRUE(shared->logits.equal(alone.logits));
  });
}

TEST_F(LabelLogitsTest, RecordedHaveTheBitsOfCalled) {
  tests_.Add({kByLevel});
  tests_.Add({kAlwaysB});
  execution_.forward_group = 2;
  const LabelLogits called = Labels(LabelExperts::kAllCorrect);
  SingleProcessCollective alone;
  ReplayCounts counts;
  ReplayingStepGraph graph(&counts);
  LabelMachine machine = Machine(&alone);
  machine.graph = &graph;
  const auto recorded =
      InitialLabelLogits(machine, tests_.experts(), LabelExperts::kAllCorrect,
                         -1, Images(), at::tensor({0, 1, 1, 2}, at::kLong));
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  EXPECT_TRUE(recorded->logits.equal(called.logits));
  // Two groups of two experts, which share a record.
  EXPECT_EQ(counts.runs, 4);
  EXPECT_EQ(counts.records, 1);
  EXPECT_EQ(counts.host_reads, 0);
}

TEST(MeanLabelEntropy, IsInNatsAndNoughtForCertainLabels) {
  EXPECT_NEAR(MeanLabelEntropy(at::zeros({4, 10})).item<double>(),
              std::log(10.0), 1e-12);
  EXPECT_NEAR(
      MeanLabelEntropy(at::tensor({100.0, 0.0}).view({1, 2})).item<double>(), 0,
      1e-12);
}

}  // namespace
}  // namespace dasm
