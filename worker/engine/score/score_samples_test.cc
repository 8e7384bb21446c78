#include "worker/engine/score/score_samples.h"

#include <ATen/ATen.h>

#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/step_graph_for_tests.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {
namespace {

TEST(ScoreSamples, AreTheSoftmaxOfTheLogitsOnEveryRank) {
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 8;
  const std::unique_ptr<Network> network = *MakeNetwork(spec, {2, 8, 8}, 3);
  const at::Tensor parameters = network->Initialize(RandomStream(1, "test"));
  const TensorSource source(TestTensor({17, 2, 8, 8}).to(at::kFloat),
                            std::vector<int64_t>(17, 0));
  ExecutionSpec execution;
  execution.forward_group = 5;
  SingleProcessCollective single;
  const at::Tensor buffers = network->InitialBuffers();
  const auto alone =
      ScoreSamples(*network, parameters, buffers, source, execution, &single);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_EQ(alone->sizes(), (std::vector<int64_t>{17, 3}));
  const at::Tensor logits =
      *Logits(*network, parameters, buffers, source, execution, &single);
  const at::Tensor odds = logits.exp();
  EXPECT_TRUE(alone->allclose(odds / odds.sum(1, true), 1e-5, 1e-6));
  const at::Tensor norms =
      *FeatureNorms(*network, parameters, buffers, source, execution, &single);
  const at::Tensor features =
      network->Embed(network->Slice(parameters), source.Normalised({3, 16}),
                     BufferMode::kEval, buffers);
  ASSERT_EQ(norms.sizes(), (std::vector<int64_t>{17}));
  for (const auto& [image, row] : {std::pair(3, 0), std::pair(16, 1)}) {
    EXPECT_NEAR(norms[image].item<float>(), features[row].norm().item<float>(),
                1e-4);
  }
  ReplayCounts counts;
  ReplayingStepGraph graph(&counts);
  EXPECT_TRUE(ScoreSamples(*network, parameters, buffers, source, execution,
                           &single, &graph)
                  ->equal(*alone));
  EXPECT_TRUE(FeatureNorms(*network, parameters, buffers, source, execution,
                           &single, &graph)
                  ->equal(norms));
  // Of four groups each; the last is shorter.
  EXPECT_EQ(counts.runs, 8);
  EXPECT_EQ(counts.records, 4);
  EXPECT_EQ(counts.host_reads, 0);
  for (int ranks = 2; ranks <= 5; ++ranks) {
    RunGang(ranks, [&](Collective* collective) {
      const auto scores = ScoreSamples(*network, parameters, buffers, source,
                                       execution, collective);
      ASSERT_TRUE(scores.ok()) << scores.status();
      EXPECT_TRUE(scores->equal(*alone)) << ranks;
      EXPECT_TRUE(FeatureNorms(*network, parameters, buffers, source, execution,
                               collective)
                      ->equal(norms))
          << ranks;
    });
  }
}

}  // namespace
}  // namespace dasm
