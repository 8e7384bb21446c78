// Training and testing through a graph of steps: what a device may record has
// the bits of what is called.
#include <ATen/ATen.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/device/step_graph_for_tests.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"
#include "worker/engine/trainer/tester.h"
#include "worker/engine/trainer/tiny_training_for_tests.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using enum Augmentation;

struct Case {
  std::string name;
  TrainingRecipe recipe;
  ImageShape shape = {2, 8, 8};
  Norm norm = Norm::kInstance;
  bool soft = false;
  int ranks = 1;
};

std::vector<Case> Cases() {
  TrainingRecipe idc;
  idc.steps = 14;
  idc.batch = 9;  // of 21 images: 9, 9, 3, in slices of 4
  idc.augmentation = {kColor, kCrop, kCutout, kFlip, kScale, kRotate};
  idc.cutmix = 0.5;
  TrainingRecipe dsa = idc;
  dsa.recipe = Recipe::kDc;
  dsa.cutmix = 0;
  TrainingRecipe digits = dsa;
  digits.steps = 4;
  digits.augmentation = {kCrop, kScale, kRotate};
  TrainingRecipe trajectory = dsa;
  trajectory.recipe = Recipe::kTrajectory;
  return {{"idc", idc},
          {"batch norm", idc, {2, 8, 8}, Norm::kBatch},
          {"dsa", dsa},
          {"digits", digits, {1, 28, 28}},
          {"soft labels", trajectory, {2, 8, 8}, Norm::kInstance, true},
          {"three ranks", idc, {2, 8, 8}, Norm::kInstance, false, 3}};
}

// After Train on every rank, that of rank 0. `counts` null: steps are called.
TrainingState Train(const Case& c, ReplayCounts* counts, int64_t every = 0) {
  const auto network = TinyNetwork(c.norm, c.shape);
  const TensorSource hard = TinySource(21, c.shape);
  const TensorSource soft(
      hard.Normalised(RoundLabels(21)), RoundLabels(21),
      TestTensor({21, kTinyClasses}).to(at::kFloat).softmax(1));
  ExecutionSpec execution;
  execution.train_group = 4;
  TrainingState result;
  RunGang(c.ranks, [&](Collective* collective) {
    std::unique_ptr<StepGraph> graph;
    if (counts != nullptr) graph = std::make_unique<ReplayingStepGraph>(counts);
    Trainer trainer(network.get(), execution, 1, "test", collective, at::kCPU,
                    graph.get());
    TrainingState state = trainer.Start();
    TrainHooks hooks;
    hooks.every = every;
    const auto loss =
        trainer.Train(c.recipe, c.soft ? soft : hard, hooks, &state);
    EXPECT_TRUE(loss.ok()) << loss.status();
    if (collective->rank() == 0) result = state;
  });
  return result;
}

TEST(RecordedTraining, HasTheBitsOfCallingItsSteps) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    ReplayCounts counts;
    ExpectSameBits(Train(c, &counts), Train(c, nullptr));
    EXPECT_GT(counts.runs, counts.records);
    EXPECT_EQ(counts.host_reads, 0);
  }
}

TEST(RecordedTraining, ReadingSeldomChangesNoBit) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.name);
    ExpectSameBits(Train(c, nullptr, /*every=*/5), Train(c, nullptr));
  }
}

TEST(RecordedTraining, HooksAreCalledAtEveryStrideAndAtTheEnd) {
  const ImageShape shape = {2, 8, 8};
  const auto network = TinyNetwork(Norm::kInstance, shape);
  const TensorSource source = TinySource(21, shape);
  SingleProcessCollective alone;
  Trainer trainer(network.get(), {}, 1, "test", &alone);
  TrainingState state = trainer.Start();
  std::vector<int64_t> told;
  int polls = 0;
  TrainHooks hooks;
  hooks.every = 5;
  hooks.progress = [&](int64_t step, double) { told.push_back(step); };
  hooks.poll = [&] {
    ++polls;
    return TrainHooks::Wish::kNone;
  };
  ASSERT_TRUE(trainer.Train(Cases()[0].recipe, source, hooks, &state).ok());
  EXPECT_EQ(told, (std::vector<int64_t>{5, 10, 14}));
  EXPECT_EQ(polls, 3);
}

TEST(RecordedTraining, ALossThatIsNotFiniteNamesItsOwnStepWhenReadLater) {
  const ImageShape shape = {2, 8, 8};
  const auto network = TinyNetwork(Norm::kInstance, shape);
  // Batches of one image in the order of the epoch: the step that meets the
  // bad one is the first whose loss is NaN.
  at::Tensor images = TestTensor({12, 2, 8, 8}).to(at::kFloat);
  images[7].fill_(std::numeric_limits<float>::quiet_NaN());
  const TensorSource source(images, RoundLabels(12));
  TrainingRecipe recipe;
  recipe.steps = 12;
  recipe.batch = 1;
  recipe.cutmix = 0;
  SingleProcessCollective alone;
  const auto failure = [&](int64_t every) {
    Trainer trainer(network.get(), {}, 1, "test", &alone);
    TrainingState state = trainer.Start();
    TrainHooks hooks;
    hooks.every = every;
    return trainer.Train(recipe, source, hooks, &state).status();
  };
  const absl::Status at_once = failure(1);
  EXPECT_EQ(FailureClassOf(at_once), FailureClass::kNumeric);
  EXPECT_THAT(std::string(at_once.message()), HasSubstr("at step "));
  for (int64_t every : {2, 5, 12}) EXPECT_EQ(failure(every), at_once) << every;
}

TEST(RecordedTraining, NoQueuedStepReadsAValue) {
  const ImageShape shape = {2, 8, 8};
  const TensorSource source = TinySource(21, shape);
  SingleProcessCollective alone;
  for (Norm norm : {Norm::kInstance, Norm::kBatch}) {
    const auto network = TinyNetwork(norm, shape);
    Trainer trainer(network.get(), {}, 1, "test", &alone);
    TrainingState state = trainer.Start();
    StepOptions options;
    options.augmentation.operations = Cases()[0].recipe.augmentation;
    options.cutmix = 0.5;
    const HostReadCounter counter;
    for (uint32_t step = 0; step < 6; ++step) {
      ASSERT_TRUE(
          trainer.QueueStep(source, RoundLabels(9), options, {step}, &state)
              .ok());
    }
    EXPECT_EQ(counter.reads(), 0);
    EXPECT_TRUE(state.parameters.isfinite().all().item<bool>());
    EXPECT_GT(counter.reads(), 0);
  }
}

TEST(RecordedTesting, HasTheBitsOfCallingItsSteps) {
  const ImageShape shape = {2, 8, 8};
  const TensorSource source = TinySource(20, shape);
  ExecutionSpec execution;
  execution.forward_group = 6;
  for (Norm norm : {Norm::kNone, Norm::kInstance, Norm::kBatch}) {
    const auto network = TinyNetwork(norm, shape);
    const at::Tensor parameters = network->Initialize(RandomStream(1, "test"));
    at::Tensor buffers = network->InitialBuffers();
    buffers.add_(0.25);
    SingleProcessCollective alone;
    const at::Tensor called =
        *Logits(*network, parameters, buffers, source, execution, &alone);
    for (int ranks : {1, 2}) {
      ReplayCounts counts;
      RunGang(ranks, [&](Collective* collective) {
        ReplayingStepGraph graph(&counts);
        const auto logits = Logits(*network, parameters, buffers, source,
                                   execution, collective, &graph);
        ASSERT_TRUE(logits.ok()) << logits.status();
        EXPECT_TRUE(logits->equal(called));
      });
      EXPECT_EQ(counts.runs, 4);  // groups of 6, 6, 6 and 2
      EXPECT_EQ(counts.records, ranks == 1 ? 2 : 3);
      EXPECT_EQ(counts.host_reads, 0);
    }
  }
}

}  // namespace
}  // namespace dasm
