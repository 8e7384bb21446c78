#include "server/planner/task_cost.h"

#include <gtest/gtest.h>

#include "server/planner/network_cost.h"

namespace dasm {
namespace {

struct Published {
  NetworkSpec network;
  int channels;
  int side;
  int classes;
  int64_t parameters;
  double million_multiply_adds;
};

// Parameter and MAC counts of the ConvNet as published with DC and IDC.
TEST(NetworkCost, AgreesWithPublishedCounts) {
  const Published rows[] = {
      {{.depth = 3}, 3, 32, 10, 320010, 50.7},
      {{.depth = 3}, 3, 32, 100, 504420, 50.9},
      {{.depth = 3}, 1, 28, 10, 317706, 48.4},
      {{.depth = 4}, 3, 64, 200, 857160, 213},
      {{.depth = 5}, 3, 128, 10, 615690, 859},
  };
  for (const Published& row : rows) {
    const NetworkCost cost =
        CostOf(row.network, row.channels, row.side, row.side, row.classes);
    EXPECT_EQ(cost.parameters, row.parameters) << row.side;
    EXPECT_NEAR(cost.forward_flops / 2e6, row.million_multiply_adds,
                row.million_multiply_adds * 0.003)
        << row.side;
  }
}

TEST(NetworkCost, NormChangesParametersAndBuffers) {
  const auto cost = [](Norm norm) {
    return CostOf(NetworkSpec{.norm = norm}, 3, 32, 32, 10);
  };
  EXPECT_EQ(cost(Norm::kInstance).parameters - cost(Norm::kNone).parameters,
            3 * 2 * 128);
  EXPECT_EQ(cost(Norm::kBatch).buffers, 3 * 2 * 128);
  EXPECT_EQ(cost(Norm::kInstance).buffers, 0);
}

ResolvedDataset Cifar() {
  return {.classes = 10,
          .channels = 3,
          .height = 32,
          .width = 32,
          .train_images = 50000,
          .test_images = 10000};
}

TEST(TaskCost, DistillationAddsItsThreeParts) {
  DistillSegmentParameters p;
  p.images_per_class = 10;
  p.matching.inits = 3;
  p.matching.steps_per_init = 7;
  p.matching.net_steps = 32;
  const double forward = CostOf(p.network, 3, 32, 32, 10).forward_flops;
  const TaskCost cost = CostOf(p, Cifar(), 0);
  EXPECT_EQ(cost.steps, 21);
  // 10 classes of 64 real at 3 F and 40 decoded at 7 F; 32 steps of 64 at 3 F.
  EXPECT_DOUBLE_EQ(cost.flops,
                   21 * forward * (10 * (3.0 * 64 + 7.0 * 40) + 3.0 * 32 * 64));
  // Counted by hand: a pass over 10 classes of grey 28 pixels is 457 GFLOP.
  p.matching.inits = 1;
  p.matching.steps_per_init = 1;
  p.matching.net_steps = 0;
  ResolvedDataset grey = Cifar();
  grey.channels = 1;
  grey.height = grey.width = 28;
  EXPECT_NEAR(CostOf(p, grey, 0).flops, 457e9, 1e9);
}

TEST(TaskCost, DecodedImagesAreCutAtTheSyntheticBatch) {
  DistillSegmentParameters p;
  p.images_per_class = 32;
  const double at_limit = CostOf(p, Cifar(), 0).flops;
  p.images_per_class = 500;
  EXPECT_EQ(CostOf(p, Cifar(), 0).flops, at_limit);
}

TEST(TaskCost, MemoryFollowsTheMeasuredKeep) {
  // 6.0 MiB an image at width 128 with stock operators; half of it is kept.
  DistillSegmentParameters p;
  p.images_per_class = 50;
  p.matching.synthetic_batch = 128;
  const int64_t large = CostOf(p, Cifar(), 0).memory_bytes;
  p.matching.synthetic_batch = 64;
  const int64_t small = CostOf(p, Cifar(), 0).memory_bytes;
  EXPECT_NEAR(static_cast<double>(large - small) / (1 << 20), 64 * 3.0, 15);
}

// Of a distilling process at IPC 10, width 128, fp32, one rank: 390 MiB above
// the data set (engine_bench --threads 1).
TEST(TaskCost, MemoryAgreesWithAMeasuredProcess) {
  DistillSegmentParameters p;
  p.images_per_class = 10;
  const ResolvedDataset fashion = {.classes = 10,
                                   .channels = 1,
                                   .height = 28,
                                   .width = 28,
                                   .train_images = 60000,
                                   .test_images = 10000};
  const double data = 70000 * (28 * 28 + 8);
  const double above =
      (static_cast<double>(CostOf(p, fashion, 0).memory_bytes) - data) /
      (1 << 20);
  EXPECT_NEAR(above, 390, 0.05 * 390);
}

TEST(TaskCost, AMicroBatchBoundsTheMemoryAndTakesAFirstPass) {
  DistillSegmentParameters p;
  p.images_per_class = 50;
  const TaskCost whole = CostOf(p, Cifar(), 0);
  for (const int micro_batch : {1, 16, 64, 128}) {
    p.execution.micro_batch = micro_batch;
    const TaskCost cut = CostOf(p, Cifar(), 0);
    EXPECT_LE(
        cut.memory_bytes,
        std::max(
            cut.fixed_memory_bytes + micro_batch * cut.memory_bytes_per_image,
            // A group of the network's training is never cut.
            cut.fixed_memory_bytes + 16 * cut.memory_bytes_per_image))
        << micro_batch;
    EXPECT_EQ(cut.fixed_memory_bytes, whole.fixed_memory_bytes);
    EXPECT_EQ(cut.flops > whole.flops, micro_batch < 128) << micro_batch;
  }
  // What is not below a side's images cuts nothing.
  EXPECT_EQ(EffectiveMicroBatch(p), 128);
  p.execution.micro_batch = 4096;
  EXPECT_EQ(EffectiveMicroBatch(p), 128);
}

TEST(TaskCost, SeveralNetworksAStepAreAsMuchArithmetic) {
  DistillSegmentParameters p;
  p.images_per_class = 10;
  p.matching.inits = 8;
  const TaskCost one = CostOf(p, Cifar(), 0);
  p.matching.inits_per_step = 4;
  const TaskCost four = CostOf(p, Cifar(), 0);
  EXPECT_EQ(four.steps * 4, one.steps);
  EXPECT_DOUBLE_EQ(four.flops, one.flops);
}

TEST(TaskCost, EvaluationTestsOnce) {
  EvaluateParameters p;
  p.training.steps = 100;
  const double forward = CostOf(p.network, 3, 32, 32, 10).forward_flops;
  EXPECT_DOUBLE_EQ(CostOf(p, Cifar(), 100).flops,
                   forward * (3.0 * 100 * 64 + 10000));
  // Ten images of DC's are no full batch.
  p.training.recipe = Recipe::kDc;
  p.training.batch = 256;
  EXPECT_DOUBLE_EQ(CostOf(p, Cifar(), 10).flops,
                   forward * (3.0 * 100 * 10 + 10000));
}

}  // namespace
}  // namespace dasm
