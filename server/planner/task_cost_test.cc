#include "server/planner/task_cost.h"

#include <gtest/gtest.h>

#include "server/planner/cifar_for_tests.h"
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

// Section 1.2 of the trajectory matching reference.
TEST(NetworkCost, EvaluationNetworksHaveTheirPublishedParameters) {
  struct Row {
    const char* name;
    Norm norm;
    int64_t parameters[3];  // 32 pixels, 10 and 100 classes; 64 pixels, 200
  };
  const Row rows[] = {
      {"mlp", Norm::kNone, {411146, 422756, 1615304}},
      {"lenet", Norm::kNone, {62006, 69656, 78156}},
      {"alexnet", Norm::kNone, {1872202, 2148772, 2456072}},
      {"vgg11", Norm::kInstance, {9231114, 9277284, 9328584}},
      {"resnet18", Norm::kInstance, {11173962, 11220132, 11271432}},
      {"resnet18", Norm::kBatch, {11173962, 11220132, 11271432}},
  };
  for (const Row& row : rows) {
    const NetworkSpec network = {
        .name = row.name, .depth = 0, .width = 0, .norm = row.norm};
    EXPECT_EQ(CostOf(network, 3, 32, 32, 10).parameters, row.parameters[0])
        << row.name;
    EXPECT_EQ(CostOf(network, 3, 32, 32, 100).parameters, row.parameters[1])
        << row.name;
    EXPECT_EQ(CostOf(network, 3, 64, 64, 200).parameters, row.parameters[2])
        << row.name;
  }
}

TEST(NetworkCost, ResNet18IsHalfAGigaMultiplyAddAndPoolsMore) {
  NetworkSpec network = {.name = "resnet18", .depth = 0, .width = 0};
  const NetworkCost strided = CostOf(network, 3, 32, 32, 10);
  // 555.4 M of convolutions, counted by hand, and the classifier.
  EXPECT_NEAR(strided.forward_flops / 2e6, 555.4, 0.5);
  network.name = "resnet18-ap";
  const NetworkCost pooled = CostOf(network, 3, 32, 32, 10);
  // The classifier sees 4 x 4 maps, of 28 grey pixels 3 x 3.
  EXPECT_EQ(pooled.parameters - strided.parameters, 15 * 512 * 10);
  EXPECT_GT(pooled.forward_flops, strided.forward_flops);
  network.norm = Norm::kBatch;
  EXPECT_EQ(CostOf(network, 1, 28, 28, 10).parameters,
            pooled.parameters - 2 * 64 * 9 - 7 * 512 * 10);
  EXPECT_EQ(CostOf(network, 3, 32, 32, 10).buffers,
            2 * (64 * 5 + 128 * 5 + 256 * 5 + 512 * 5));
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

// The runner itself, measured of tiny tasks (tests/system/memory_test.cc): with
// networks and without.
TEST(TaskCost, ATinyTaskTakesTheRunnerItself) {
  const ResolvedDataset tiny = {.classes = 3,
                                .channels = 1,
                                .height = 16,
                                .width = 16,
                                .train_images = 120,
                                .test_images = 60};
  DistillSegmentParameters p;
  p.images_per_class = 2;
  p.network = {.depth = 2, .width = 64};
  p.matching.real_batch = 8;
  p.execution.train_group = 4;
  const auto mebibytes = [](const TaskCost& cost) {
    return static_cast<double>(cost.memory_bytes) / (1 << 20);
  };
  EXPECT_NEAR(mebibytes(CostOf(p, tiny, 0)), 172, 17);
  EXPECT_NEAR(mebibytes(CostOf(PrepareDatasetParameters{}, tiny, 0)), 139, 14);
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

TEST(TaskCost, EvaluationTrainsAndTestsOnce) {
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
  // One training, whatever is tested.
  ResolvedDataset data = Cifar();
  data.validation_images = 5000;
  p.split = Split::kTestAndValidation;
  EXPECT_DOUBLE_EQ(CostOf(p, data, 10).flops,
                   forward * (3.0 * 100 * 10 + 15000));
}

constexpr double kMiB = 1 << 20;

// DATM, CIFAR-10.
MatchTrajectoriesParameters Datm(int images_per_class, int batch) {
  MatchTrajectoriesParameters p;
  p.images_per_class = images_per_class;
  p.matching.iterations = 10000;
  p.matching.student_steps = 80;
  p.matching.batch = batch;
  return p;
}

ResolvedDataset Whitened() {
  ResolvedDataset data = Cifar();
  data.bytes_per_pixel = 4;
  return data;
}

TEST(TaskCost, SnapshotsAreKeptWithTheirMovingAverages) {
  MatchTrajectoriesParameters p = Datm(50, 500);
  const TaskCost none = CostOf(p, Whitened(), 0);
  p.matching.snapshot_interval = 1000;  // nine before the end of the run
  const int64_t set = 500 * (4 * 3 * 32 * 32 + 12);
  const TaskCost nine = CostOf(p, Whitened(), 0);
  EXPECT_EQ(nine.artifact_bytes - none.artifact_bytes, 9 * set);
  EXPECT_EQ(nine.memory_bytes - none.memory_bytes, 18 * set);
  EXPECT_EQ(nine.fixed_memory_bytes - none.fixed_memory_bytes, 18 * set);
  p.matching.pixel_ema = 0.999;
  const TaskCost averaged = CostOf(p, Whitened(), 0);
  EXPECT_EQ(averaged.artifact_bytes - none.artifact_bytes, 18 * set);
}

TEST(TaskCost, ATrajectoryIsItsImageSteps) {
  const double forward = CostOf(NetworkSpec(), 3, 32, 32, 10).forward_flops;
  MatchTrajectoriesParameters p = Datm(10, 100);
  const double image_steps = 10000.0 * 80 * 100;
  for (const auto& [estimator, passes] :
       {std::pair(Estimator::kStepAdjoint, 12.0),
        {Estimator::kFullGraph, 9.0},
        {Estimator::kTesla, 10.0}}) {
    p.matching.estimator = estimator;
    EXPECT_DOUBLE_EQ(CostOf(p, Whitened(), 0).flops,
                     passes * forward * image_steps);
  }
  // 73 PFLOP for 10,000 iterations at IPC 10 by the full graph (section 9.2).
  p.matching.estimator = Estimator::kFullGraph;
  EXPECT_NEAR(CostOf(p, Whitened(), 0).flops / 1e15, 73, 0.5);
  EXPECT_EQ(CostOf(p, Whitened(), 0).steps, 10000);
  // Two trajectories a step are twice as much, one after the other.
  MatchTrajectoriesParameters two = p;
  two.matching.trajectories_per_step = 2;
  EXPECT_DOUBLE_EQ(CostOf(two, Whitened(), 0).flops,
                   2 * CostOf(p, Whitened(), 0).flops);
  EXPECT_NEAR(static_cast<double>(CostOf(two, Whitened(), 0).memory_bytes) /
                  static_cast<double>(CostOf(p, Whitened(), 0).memory_bytes),
              1, 0.001);
}

TEST(TaskCost, TheStepAdjointNeedsNoMoreMemoryForMoreSteps) {
  MatchTrajectoriesParameters p = Datm(10, 100);
  p.execution.micro_batch = 100;
  const TaskCost many = CostOf(p, Whitened(), 0);
  p.matching.student_steps = 10;
  const TaskCost few = CostOf(p, Whitened(), 0);
  // Beside the parameter vectors that the path leaves.
  EXPECT_EQ(many.memory_bytes - few.memory_bytes, 70 * 320010 * 4);
  p.matching.estimator = Estimator::kFullGraph;
  const int64_t full_few = CostOf(p, Whitened(), 0).memory_bytes;
  p.matching.student_steps = 80;
  const double full_many =
      static_cast<double>(CostOf(p, Whitened(), 0).memory_bytes - full_few);
  // 3.2 MB an image-step were measured of the public code.
  EXPECT_NEAR(full_many / (70 * 100), 3.2e6, 0.1e6);
}

TEST(TaskCost, DatmAtIpc1000FitsOneDeviceOf80GB) {
  MatchTrajectoriesParameters p = Datm(1000, 1000);
  p.matching.labels = Labels::kSoftLearned;
  // As the spec has it, and with the whole batch in one kernel call.
  EXPECT_LT(static_cast<double>(CostOf(p, Whitened(), 0).memory_bytes), 4e9);
  p.execution.micro_batch = 1000;
  const TaskCost whole = CostOf(p, Whitened(), 0);
  EXPECT_LT(static_cast<double>(whole.memory_bytes), 80e9);
  // About 5 GB by the measured slope (section 9.3).
  EXPECT_NEAR(
      static_cast<double>(whole.memory_bytes - whole.fixed_memory_bytes), 4.8e9,
      0.3e9);
  // The public code's graph does not.
  p.matching.estimator = Estimator::kFullGraph;
  EXPECT_GT(static_cast<double>(CostOf(p, Whitened(), 0).memory_bytes), 240e9);
}

TEST(TaskCost, AMicroBatchBoundsAStudentsMemory) {
  MatchTrajectoriesParameters p = Datm(100, 1000);
  p.execution.train_group = 100;
  // Without one a student's groups are those of training.
  const TaskCost plain = CostOf(p, Whitened(), 0);
  p.execution.micro_batch = 100;
  EXPECT_EQ(CostOf(p, Whitened(), 0).memory_bytes, plain.memory_bytes);
  for (const int micro_batch : {1, 10, 500}) {
    p.execution.micro_batch = micro_batch;
    const TaskCost cost = CostOf(p, Whitened(), 0);
    const int64_t bound =
        cost.fixed_memory_bytes + micro_batch * cost.memory_bytes_per_image;
    EXPECT_LE(cost.memory_bytes, bound);
    // Below, for the allocator does not hold back more than is kept.
    EXPECT_GE(static_cast<double>(cost.memory_bytes),
              static_cast<double>(bound) - 100 * kMiB - micro_batch);
    EXPECT_DOUBLE_EQ(cost.flops, plain.flops);
  }
  // Coupled batches have no parts.
  p.network.norm = Norm::kBatch;
  p.execution.micro_batch = 1;
  const TaskCost coupled = CostOf(p, Whitened(), 0);
  EXPECT_GT(coupled.memory_bytes, plain.memory_bytes);
  EXPECT_EQ(coupled.memory_bytes_per_image, 0);
}

TEST(TaskCost, AnExpertIsItsEpochs) {
  TrainExpertsParameters p;
  p.training.epochs = 100;
  p.training.optimizer = ExpertOptimizer::kGsam;
  const TaskCost gsam = CostOf(p, Cifar(), 0);
  // 3.0 PFLOP (section 9.2), and a test on the training images.
  EXPECT_NEAR(gsam.flops / 1e15, 3.05, 0.02);
  EXPECT_EQ(gsam.steps, 100 * 196);
  p.training.optimizer = ExpertOptimizer::kSgd;
  EXPECT_NEAR(gsam.flops / CostOf(p, Cifar(), 0).flops, 2, 0.01);
  // 129 MB of trajectory: 101 rows.
  EXPECT_EQ(ExpertBytes(p.network, 100, Cifar()), 101LL * 320010 * 4);
  const TaskCost one = CostOf(p, Cifar(), 0);
  p.count = 10;
  const TaskCost ten = CostOf(p, Cifar(), 0);
  EXPECT_DOUBLE_EQ(ten.flops, 10 * one.flops);
  EXPECT_EQ(ten.artifact_bytes - one.artifact_bytes,
            9 * ExpertBytes(p.network, 100, Cifar()));
  // A device computes their steps at once.
  EXPECT_NEAR(static_cast<double>(ten.memory_bytes_per_image),
              10.0 * static_cast<double>(one.memory_bytes_per_image), 10);
  EXPECT_GT(ten.memory_bytes, one.memory_bytes);
}

TEST(TaskCost, AnEasyToHardScheduleSavesTheImagesItLeavesOut) {
  TrainExpertsParameters p;
  p.training.epochs = 100;
  const double forward = CostOf(p.network, 3, 32, 32, 10).forward_flops;
  const double plain = CostOf(p, Cifar(), 0).flops;
  p.training.schedule = {.enabled = true,
                         .initial_share = 0.75,
                         .growth_epochs = 20,
                         .removals = {{40, 0.1}, {60, 0.2}}};
  // Of the epochs 0 .. 20 an eighth on average (21 of them, the last whole), a
  // tenth of 41 .. 60, a fifth of 61 .. 99.
  const double saved = 0.25 * 21 / 2 + 0.1 * 20 + 0.2 * 39;
  EXPECT_NEAR(plain - CostOf(p, Cifar(), 0).flops, 3 * forward * 50000 * saved,
              1e9);
}

TEST(TaskCost, LaterExpertsAlsoTrainOnTheEarlierSegments) {
  TrainExpertsParameters p;
  p.training.epochs = 20;
  const TaskCost fresh = CostOf(p, Cifar(), 0);
  p.start = {.trained = true, .order = Order::kCumulative, .epochs = 1000};
  p.start.training = {.recipe = Recipe::kTrajectory, .batch = 256};
  const TaskCost later = CostOf(p, Cifar(), 340, {170, 170});
  const double forward = CostOf(p.network, 3, 32, 32, 10).forward_flops;
  EXPECT_NEAR(later.flops - fresh.flops, 3 * forward * 1001 * (170 + 340), 1e6);
  // A batch, then two.
  EXPECT_EQ(later.steps - fresh.steps, 1001 * 3);
}

// Measured: 896 MiB above the runner (docs/benchmarks.md).
TEST(TaskCost, WhiteningTakesWhatWasMeasured) {
  const TaskCost cost = CostOf(WhitenDatasetParameters{}, Cifar(), 0);
  EXPECT_NEAR(static_cast<double>(cost.memory_bytes), (140 + 896) * kMiB,
              0.1 * 896 * kMiB);
}

}  // namespace
}  // namespace dasm
