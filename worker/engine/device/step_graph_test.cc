#include "worker/engine/device/step_graph.h"

#include <ATen/ATen.h>

#include <set>
#include <string>

#include "gtest/gtest.h"
#include "worker/engine/device/load_plugin.h"
#include "worker/engine/device/step_graph_for_tests.h"

namespace dasm {
namespace {

TEST(StepGraph, OnACpuItCallsTheStepEachTime) {
  ASSERT_EQ(InstalledPlugin(), nullptr);
  const auto graph = MakeStepGraph(at::kCPU);
  int calls = 0;
  const StepGraph::Step add = [&](const StepGraph::Tensors& in) {
    ++calls;
    return StepGraph::Tensors{in[0] + in[1], in[0] * in[1]};
  };
  for (int k = 1; k <= 3; ++k) {
    const auto out =
        graph->Run("add", {at::full({2}, k), at::full({2}, 10)}, add);
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(out[0][0].item<int>(), 10 + k);
    EXPECT_EQ(out[1][1].item<int>(), 10 * k);
  }
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(graph->recorded(), 0);
}

TEST(StepGraph, WhatTheStepThrowsPassesThrough) {
  const auto graph = MakeStepGraph(at::kCPU);
  EXPECT_THROW(graph->Run("odd", {},
                          [](const StepGraph::Tensors&) -> StepGraph::Tensors {
                            TORCH_CHECK(false, "odd");
                          }),
               c10::Error);
}

TEST(StepGraph, ARecordIsOfOneKeyAndOfTheShapesAndTypesOfItsInputs) {
  const at::Tensor two = at::zeros({2});
  const std::set<std::string> records = {
      RecordKey("a", {two}),           RecordKey("b", {two}),
      RecordKey("a", {two, two}),      RecordKey("a", {at::zeros({2, 1})}),
      RecordKey("a", {at::zeros({})}), RecordKey("a", {two.to(at::kLong)}),
  };
  EXPECT_EQ(records.size(), 6u);
  EXPECT_EQ(RecordKey("a", {two}), RecordKey("a", {at::ones({2})}));
}

TEST(Upload, OnTheSameDeviceItIsTheTensorItself) {
  const at::Tensor tensor = at::zeros({2});
  EXPECT_TRUE(Upload(tensor, at::kCPU).is_same(tensor));
  EXPECT_TRUE(
      UploadIndices({4, 2}, at::kCPU).equal(at::tensor({4, 2}, at::kLong)));
}

TEST(HostReadCounter, CountsWhatWouldWaitForADevice) {
  const at::Tensor tensor = at::ones({3});
  const HostReadCounter counter;
  EXPECT_EQ((tensor + 1).sum().numel(), 1);
  EXPECT_EQ(counter.reads(), 0);
  EXPECT_EQ(tensor.sum().item<float>(), 3);
  EXPECT_EQ(counter.reads(), 1);
  EXPECT_EQ(tensor.nonzero().size(0), 3);
  EXPECT_EQ(counter.reads(), 2);
}

class ReplayingStepGraphTest : public ::testing::Test {
 protected:
  at::Tensor Run(const at::Tensor& input, const StepGraph::Step& step) {
    return graph_.Run("step", {input}, step)[0];
  }
  ReplayCounts counts_;
  ReplayingStepGraph graph_{&counts_};
};

TEST_F(ReplayingStepGraphTest, AStepWithAKeyThatTellsTooLittleGivesWhatItGave) {
  for (int factor : {2, 3}) {
    const at::Tensor out =
        Run(at::ones({1}), [factor](const StepGraph::Tensors& in) {
          return StepGraph::Tensors{in[0] * factor};
        });
    EXPECT_EQ(out.item<float>(), 2);
  }
  EXPECT_EQ(counts_.runs, 2);
  EXPECT_EQ(counts_.records, 1);
}

TEST_F(ReplayingStepGraphTest, AResultIsSpoiltByTheNextRunOfAnyKey) {
  const StepGraph::Step twice = [](const StepGraph::Tensors& in) {
    return StepGraph::Tensors{in[0] * 2};
  };
  const at::Tensor first = Run(at::ones({1}), twice);
  EXPECT_EQ(first.item<float>(), 2);
  EXPECT_TRUE(Run(at::ones({2}), twice).equal(at::full({2}, 2.0f)));
  EXPECT_TRUE(first.isnan().item<bool>());
}

TEST_F(ReplayingStepGraphTest, ALookAtAValueIsCounted) {
  Run(at::ones({1}), [](const StepGraph::Tensors& in) {
    return StepGraph::Tensors{in[0] * in[0].item<float>()};
  });
  EXPECT_EQ(counts_.host_reads, 1);
}

}  // namespace
}  // namespace dasm
