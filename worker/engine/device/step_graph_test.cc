#include "worker/engine/device/step_graph.h"

#include <ATen/ATen.h>

#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/device/load_plugin.h"

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

}  // namespace
}  // namespace dasm
