// Loops of recorded steps on a device: the bits of calling them, alone and in
// lanes, and the host's values.
#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/gpu/gpu_fixture.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/device/device_lanes.h"
#include "worker/engine/device/resident_images.h"
#include "worker/engine/matcher/gradient_matcher.h"
#include "worker/engine/matcher/trajectory_matcher.h"
#include "worker/engine/teacher/expert_trainer.h"
#include "worker/engine/trainer/tester.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {
namespace {

using Tensors = std::vector<at::Tensor>;

const at::Device kGpu(at::kCUDA, 0);

// Six steps of a student, one for each operation of the augmentation.
StudentPath SixSteps(const Network& network) {
  using enum Augmentation;
  StudentPath path;
  path.start = network.Initialize(RandomStream(1, "start")).to(at::kDouble);
  at::manual_seed(1);
  path.target = path.start + 0.05 * at::randn_like(path.start);
  path.images = at::randn({8, 3, 16, 16}, at::kDouble);
  path.labels = at::randn({8, 4}, at::kDouble);
  path.step_size = 0.05;
  uint32_t step = 0;
  for (Augmentation a : {kColor, kCrop, kCutout, kFlip, kScale, kRotate}) {
    path.batches.push_back({step % 4, 4 + step % 3, 7});
    path.augmentations.push_back(DrawAugmentation(
        {AugmentationFlavour::kDsa, {a}, /*align_corners=*/true},
        RandomStream(1, "augmentation"), 0, step++, 3, {3, 16, 16}));
  }
  return path;
}

TEST(TrajectoryMatcherOnDevice, StepAdjointAgreesWithTheHostAndWithItself) {
  Gpu();
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 8;
  const auto network = MakeNetwork(spec, {3, 16, 16}, 4);
  ASSERT_TRUE(network.ok()) << network.status();
  TrajectoryMatcher::Options options;
  options.mask.to = 0.25;
  options.group = 2;
  const TrajectoryMatcher matcher(network->get(), options);
  const auto match = [&](at::Device device, at::ScalarType type) {
    StudentPath path = SixSteps(**network);
    for (at::Tensor* tensor :
         {&path.start, &path.target, &path.images, &path.labels}) {
      *tensor = tensor->to(device, type);
    }
    SingleProcessCollective alone;
    const auto result = matcher.Match(path, ShardRunner(&alone, device));
    EXPECT_TRUE(result.ok()) << result.status();
    return Tensors{result->loss.cpu(), result->images.cpu(),
                   result->labels.cpu(), result->step_size.cpu()};
  };
  const Tensors host = match(at::kCPU, at::kDouble);
  const std::pair<at::ScalarType, double> kinds[] = {{at::kDouble, 1e-9},
                                                     {at::kFloat, 1e-4}};
  for (const auto& [type, tolerance] : kinds) {
    const Tensors device = match(kGpu, type);
    const Tensors again = match(kGpu, type);
    for (size_t i = 0; i < host.size(); ++i) {
      const double error = ((device[i].to(at::kDouble) - host[i]).abs().max() /
                            host[i].abs().max())
                               .item<double>();
      EXPECT_LT(error, tolerance) << "result " << i;
      EXPECT_TRUE(device[i].equal(again[i])) << "result " << i;
    }
  }
}

// A loop called on the device and the same recorded there, a few times each.
// Returns the graph that recorded; results are compared by bits: the kernels
// are the same.
using Loop = std::function<Tensors(StepGraph*)>;
std::unique_ptr<StepGraph> ExpectSameRecorded(const Loop& loop) {
  std::unique_ptr<StepGraph> graph = Gpu()->MakeStepGraph(0);
  const Tensors called = loop(nullptr);
  const Tensors recorded = loop(graph.get());
  EXPECT_EQ(called.size(), recorded.size());
  for (size_t i = 0; i < called.size(); ++i) {
    EXPECT_TRUE(called[i].isfinite().all().item<bool>()) << "result " << i;
    EXPECT_TRUE(recorded[i].equal(called[i])) << "result " << i;
  }
  EXPECT_GT(graph->recorded(), 0);
  EXPECT_EQ(graph->refused(), 0);
  return graph;
}

std::unique_ptr<Network> SmallNetwork(Norm norm) {
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 8;
  spec.norm = norm;
  return *MakeNetwork(spec, {3, 16, 16}, 4);
}

TensorSource SmallSource(int64_t count) {
  at::manual_seed(2);
  std::vector<int64_t> labels(count);
  for (int64_t i = 0; i < count; ++i) labels[i] = i % 4;
  return TensorSource(at::randn({count, 3, 16, 16}), labels);
}

const std::vector<Augmentation> kEvery = {
    Augmentation::kColor, Augmentation::kCrop,  Augmentation::kCutout,
    Augmentation::kFlip,  Augmentation::kScale, Augmentation::kRotate};

TEST(RecordedOnDevice, NetworkStepsOfEveryRecipe) {
  const TensorSource source = SmallSource(30);
  ExecutionSpec execution;
  execution.train_group = 4;
  for (Norm norm : {Norm::kInstance, Norm::kBatch}) {
    const auto network = SmallNetwork(norm);
    for (Recipe recipe : {Recipe::kIdc, Recipe::kDc, Recipe::kTrajectory}) {
      ExpectSameRecorded([&](StepGraph* graph) {
        SingleProcessCollective alone;
        Trainer trainer(network.get(), execution, 1, "test", &alone, kGpu,
                        graph);
        TrainingRecipe training;
        training.recipe = recipe;
        training.steps = 40;
        training.batch = 11;
        training.augmentation = kEvery;
        training.cutmix = recipe == Recipe::kIdc ? 0.5 : 0;
        TrainingState state = trainer.Start();
        const auto loss = trainer.Train(training, source, {}, &state);
        EXPECT_TRUE(loss.ok()) << loss.status();
        return Tensors{state.parameters, state.momentum, state.buffers};
      });
    }
  }
}

TEST(RecordedOnDevice, StepsOfExperts) {
  Gpu();
  const TensorSource source = SmallSource(30);
  const auto network = SmallNetwork(Norm::kInstance);
  const auto resident = MakeResident(&source, kGpu);
  for (ExpertOptimizer optimizer :
       {ExpertOptimizer::kSgd, ExpertOptimizer::kGsam}) {
    ExpectSameRecorded([&](StepGraph* graph) {
      ExpertTraining training;
      training.optimizer = optimizer;
      training.gsam_rho = 0.1;
      training.augmentation = kEvery;
      training.learning_rate = 0.05;
      SingleProcessCollective alone;
      ExpertTrainer trainer(network.get(), training, {}, /*seed=*/3, &alone,
                            kGpu, graph);
      TrainingState state = trainer.Start();
      for (uint32_t step = 0; step < 30; ++step) {
        const std::vector<int64_t> batch = {step % 30, 3, 8, 13, 21};
        EXPECT_TRUE(trainer.Step(*resident, batch, {0, step}, 0, &state).ok());
      }
      return Tensors{state.parameters};
    });
  }
}

TEST(ExpertsInLanes, HaveTheBitsOfTakingTurns) {
  Gpu();
  constexpr int kExperts = 3;
  const TensorSource source = SmallSource(30);
  const auto network = SmallNetwork(Norm::kInstance);
  const auto resident = MakeResident(&source, kGpu);
  ExpertTraining training;
  training.augmentation = kEvery;
  training.learning_rate = 0.05;
  SingleProcessCollective alone;
  const auto train = [&](DeviceLanes* lanes) {
    std::vector<std::unique_ptr<StepGraph>> graphs;
    std::vector<ExpertTrainer> trainers;
    std::vector<TrainingState> states;
    for (int k = 0; k < kExperts; ++k) {
      graphs.push_back(MakeStepGraph(kGpu));
      trainers.emplace_back(network.get(), training, ExecutionSpec(),
                            /*seed=*/k, &alone, kGpu, graphs.back().get());
      states.push_back(trainers.back().Start());
    }
    for (uint32_t step = 0; step < 30; ++step) {
      const std::vector<int64_t> batch = {step % 30, 3, 8, 13, 21};
      EXPECT_TRUE(lanes
                      ->ForEach([&](int k) {
                        return trainers[k]
                            .Step(*resident, batch, {0, step}, 0, &states[k])
                            .status();
                      })
                      .ok());
    }
    Tensors trained;
    for (const TrainingState& state : states) {
      trained.push_back(state.parameters.cpu());
    }
    return trained;
  };
  const Tensors apart = train(MakeDeviceLanes(kGpu, kExperts).get());
  const Tensors in_turn = train(MakeLanesInTurn(kExperts).get());
  for (int k = 0; k < kExperts; ++k) {
    EXPECT_TRUE(at::equal(apart[k], in_turn[k])) << k;
  }
}

TEST(RecordedOnDevice, TestingStepsOfByteImages) {
  Gpu();
  const at::Tensor bytes =
      at::randint(0, 256, {50, 3, 16, 16}, at::TensorOptions(at::kByte));
  const ByteImages images(bytes.const_data_ptr<uint8_t>(), {3, 16, 16},
                          std::vector<int64_t>(50, 1),
                          {{0.5, 0.4, 0.3}, {0.2, 0.3, 0.4}});
  const std::vector<int64_t> rows = {49, 0, 7};
  EXPECT_TRUE(MakeResident(&images, kGpu)
                  ->Normalised(rows)
                  .cpu()
                  .equal(images.Normalised(rows)));
  ExecutionSpec execution;
  execution.forward_group = 8;
  for (Norm norm : {Norm::kInstance, Norm::kBatch}) {
    const auto network = SmallNetwork(norm);
    const RandomStream stream(1, "test");
    ExpectSameRecorded([&](StepGraph* graph) {
      SingleProcessCollective alone;
      const auto logits = Logits(*network, network->Initialize(stream).to(kGpu),
                                 network->InitialBuffers().to(kGpu), images,
                                 execution, &alone, graph);
      EXPECT_TRUE(logits.ok()) << logits.status();
      return Tensors{*logits};
    });
  }
}

TEST(RecordedOnDevice, MatchingStepsWholeAndInParts) {
  const auto network = SmallNetwork(Norm::kInstance);
  GradientMatcher::Options options;
  options.formation = MultiFormation(2);
  options.normalization = {{0.5, 0.4, 0.3}, {0.2, 0.3, 0.4}};
  for (bool parts : {false, true}) {
    ExpectSameRecorded([&](StepGraph* graph) {
      const GradientMatcher matcher(network.get(), options, graph);
      SingleProcessCollective alone;
      const ShardRunner runner(&alone, kGpu);
      Tensors results;
      at::manual_seed(3);
      for (uint32_t step = 0; step < 24; ++step) {
        const AugmentationDraw draw = DrawSharedAugmentation(
            {AugmentationFlavour::kIdc, kEvery}, RandomStream(1, "test"), step,
            0, 0, {3, 16, 16});
        const at::Tensor theta =
            network->Initialize(RandomStream(step, "init")).to(kGpu);
        const std::vector<int64_t> some = {0, 4, 5, 11};
        ClassBatch batch;
        batch.label = step % 4;
        batch.real = at::randn({7, 3, 16, 16}).to(kGpu);
        batch.stored = at::rand({3, 3, 16, 16}).to(kGpu);
        if (step % 2 == 1) batch.decoded = some;
        batch.augmentation = &draw;
        const auto match =
            parts ? matcher.MatchInParts(theta, batch, 3, runner)
                  : absl::StatusOr<ClassMatch>(matcher.Match(theta, batch));
        EXPECT_TRUE(match.ok()) << match.status();
        results.push_back(match->gradient.clone());
        results.push_back(match->distance.clone());
      }
      return results;
    });
  }
}

TEST(RecordedOnDevice, StudentStepsThereAndBack) {
  const auto network = SmallNetwork(Norm::kInstance);
  TrajectoryMatcher::Options options;
  options.group = 2;
  ExpectSameRecorded([&](StepGraph* graph) {
    const TrajectoryMatcher matcher(network.get(), options, graph);
    SingleProcessCollective alone;
    StudentPath path = SixSteps(*network);
    for (at::Tensor* tensor :
         {&path.start, &path.target, &path.images, &path.labels}) {
      *tensor = tensor->to(kGpu, at::kFloat);
    }
    Tensors results;
    // The first path is called, the second recorded, the third replayed.
    for (int k = 0; k < 3; ++k) {
      const auto result = matcher.Match(path, ShardRunner(&alone, kGpu));
      EXPECT_TRUE(result.ok()) << result.status();
      results.insert(results.end(), {result->loss, result->images,
                                     result->labels, result->step_size});
      path.step_size *= 0.9;
    }
    return results;
  });
}

}  // namespace
}  // namespace dasm
