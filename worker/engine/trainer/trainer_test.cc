#include "worker/engine/trainer/trainer.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "gtest/gtest.h"
#include "worker/collective/process_gang_for_tests.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/augmentation/cutmix.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"
#include "worker/engine/trainer/tiny_training_for_tests.h"

namespace dasm {
namespace {

using enum Augmentation;

// The same training on one rank.
TrainingState TrainAlone(const TrainingRecipe& recipe, const Network& network,
                         const ImageSource& source) {
  SingleProcessCollective collective;
  Trainer trainer(&network, Groups(4), 1, "test", &collective);
  TrainingState state = trainer.Start();
  const auto loss = trainer.Train(recipe, source, {}, &state);
  EXPECT_TRUE(loss.ok()) << loss.status();
  return state;
}

// Three steps of torch.optim.SGD written out, with the gradient of the whole
// batch at once.
TEST(Trainer, StepsAsTorchSgdOnTheMeanOfTheBatch) {
  const auto network = TinyNetwork();
  const TensorSource source = TinySource(10);
  SingleProcessCollective collective;
  // Slices of 4, 4 and 2.
  Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
  TrainingState state = trainer.Start();
  at::Tensor p = state.parameters.to(at::kDouble);
  at::Tensor v;
  StepOptions options;
  options.learning_rate = 0.05;
  options.momentum = 0.9;
  options.weight_decay = 0.01;
  const at::Tensor images = source.Normalised(Indices(10)).to(at::kDouble);
  const at::Tensor labels = source.Labels(Indices(10));
  for (uint32_t step = 0; step < 3; ++step) {
    const auto result =
        trainer.TrainStep(source, Indices(10), options, {.a = step}, &state);
    ASSERT_TRUE(result.ok()) << result.status();
    const at::Tensor leaf = p.detach().clone().requires_grad_();
    const at::Tensor loss = at::cross_entropy_loss(
        network->Forward(network->Slice(leaf), images, BufferMode::kTrain),
        labels);
    const at::Tensor g =
        torch::autograd::grad({loss}, {leaf}).front() + 0.01 * p;
    v = v.defined() ? 0.9 * v + g : g;
    p = p - 0.05 * v;
    EXPECT_NEAR(result->loss, loss.item<double>(), 1e-5);
    EXPECT_TRUE(
        state.parameters.to(at::kDouble).allclose(p, /*rtol=*/1e-4, 1e-6));
    EXPECT_TRUE(
        state.momentum.to(at::kDouble).allclose(v, /*rtol=*/1e-3, 1e-6));
  }
  EXPECT_EQ(state.step, 3);
}

TEST(Trainer, CutMixSharesTheLossByArea) {
  const auto network = TinyNetwork();
  const TensorSource source = TinySource(6);
  SingleProcessCollective collective;
  Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
  const TrainingState start = trainer.Start();
  StepOptions options;
  options.cutmix = 1;
  const CutMixDraw draw =
      DrawCutMix(1, RandomStream(1, "test.cutmix"), 5, 2, 6, kTinyShape);
  ASSERT_LT(draw.own_weight, 1);
  TrainingState state = start.Clone();
  const auto result =
      trainer.TrainStep(source, Indices(6), options, {5, 2}, &state);
  ASSERT_TRUE(result.ok()) << result.status();

  const at::Tensor images = source.Normalised(Indices(6));
  const at::Tensor mixed = ApplyCutMix(images, source.Normalised(draw.partner),
                                       draw.Box(kTinyShape));
  const at::Tensor logits = network->Forward(network->Slice(start.parameters),
                                             mixed, BufferMode::kTrain);
  const double own =
      at::cross_entropy_loss(logits, source.Labels(Indices(6))).item<double>();
  const double other =
      at::cross_entropy_loss(logits, source.Labels(draw.partner))
          .item<double>();
  EXPECT_NEAR(result->loss,
              draw.own_weight * own + (1 - draw.own_weight) * other, 1e-5);
}

TEST(Trainer, NumberOfRanksDoesNotChangeABit) {
  const TensorSource source = TinySource(21);
  const TensorSource grey = TinySource(21, {1, 28, 28});
  TrainingRecipe idc = IdcRecipe(7);
  idc.batch = 19;  // slices of 4, 4, 4, 4 and 3, then a batch of 2
  idc.cutmix = 0.7;
  TrainingRecipe dsa = idc;
  dsa.recipe = Recipe::kDc;
  dsa.augmentation = {kColor, kCrop, kCutout, kFlip, kScale, kRotate};
  TrainingRecipe digits = dsa;
  digits.steps = 3;
  digits.augmentation = {kCrop, kScale, kRotate};
  struct Case {
    const TrainingRecipe& recipe;
    Norm norm;
    const TensorSource& source;
  };
  for (const Case& c :
       {Case{idc, Norm::kInstance, source}, Case{idc, Norm::kBatch, source},
        Case{dsa, Norm::kInstance, source}, Case{digits, Norm::kNone, grey}}) {
    const auto network = TinyNetwork(c.norm, c.source.shape());
    const TrainingState alone = TrainAlone(c.recipe, *network, c.source);
    for (int ranks = 2; ranks <= 4; ++ranks) {
      RunGang(ranks, [&](Collective* collective) {
        Trainer trainer(network.get(), Groups(4), 1, "test", collective);
        TrainingState state = trainer.Start();
        const auto loss = trainer.Train(c.recipe, c.source, {}, &state);
        ASSERT_TRUE(loss.ok()) << loss.status();
        ExpectSameBits(state, alone);
      });
    }
  }
}

// What couples a batch is drawn or measured before it is cut: the operation and
// the parameters by position, CutMix with a partner in another slice, and the
// fill values of DC's digits.
TEST(Trainer, SlicesGiveTheStepOfTheWholeBatch) {
  const TensorSource source = TinySource(21);
  const TensorSource grey = TinySource(21, {1, 28, 28});
  StepOptions idc;
  idc.augmentation = {AugmentationFlavour::kIdc,
                      {kColor, kCrop, kFlip, kScale, kRotate}};
  idc.cutmix = 1;
  StepOptions dsa;
  dsa.augmentation = {AugmentationFlavour::kDsa,
                      {kColor, kCrop, kCutout, kFlip, kScale, kRotate}};
  StepOptions digits;
  digits.dc_mnist = true;
  struct Case {
    const StepOptions& options;
    const TensorSource& source;
  };
  for (const Case& c :
       {Case{idc, source}, Case{dsa, source}, Case{digits, grey}}) {
    const auto network = TinyNetwork(Norm::kInstance, c.source.shape());
    SingleProcessCollective collective;
    Trainer whole(network.get(), Groups(21), 1, "test", &collective);
    Trainer slices(network.get(), Groups(4), 1, "test", &collective);
    TrainingState a = whole.Start();
    for (uint32_t step = 0; step < 4; ++step) {
      TrainingState same = a.Clone();
      const auto x =
          whole.TrainStep(c.source, Indices(21), c.options, {step}, &a);
      const auto y =
          slices.TrainStep(c.source, Indices(21), c.options, {step}, &same);
      ASSERT_TRUE(x.ok() && y.ok());
      EXPECT_NEAR(x->loss, y->loss, 1e-5 * x->loss);
      EXPECT_TRUE(a.momentum.allclose(same.momentum, 1e-3, 1e-6));
    }
  }
}

// Of the partial sums alone: 2^-24 a float, a few times over.
constexpr double kFastTolerance = 1e-6;

TEST(Trainer, AFastReductionKeepsAStepFromEqualStateWithinItsTolerance) {
  const TensorSource source = TinySource(40);
  const auto network = TinyNetwork();
  SingleProcessCollective single;
  const auto step = [&](Collective* collective) {
    Trainer trainer(network.get(), Groups(4), 1, "test", collective);
    TrainingState state = trainer.Start();
    const auto result = trainer.TrainStep(source, Indices(40), {}, {}, &state);
    EXPECT_TRUE(result.ok()) << result.status();
    return state.momentum;
  };
  const at::Tensor alone = step(&single);
  const double size = alone.norm().item<double>();
  for (const Reduction reduction : {Reduction::kOrdered, Reduction::kFast}) {
    // Five ranks in three processes.
    const JoinedGang gang({2, 1, 2}, ProcessGang::Options{reduction});
    RunRanks(gang.ranks, [&](Collective* collective) {
      const at::Tensor shared = step(collective);
      if (reduction == Reduction::kOrdered) {
        EXPECT_TRUE(shared.equal(alone));
      } else {
        EXPECT_LT((shared - alone).norm().item<double>(),
                  kFastTolerance * size);
      }
    });
  }
}

TEST(Trainer, QueuedStepIsTheStepWithoutItsCheck) {
  const TensorSource source = TinySource(9);
  const auto network = TinyNetwork();
  SingleProcessCollective collective;
  Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
  TrainingState a = trainer.Start();
  TrainingState b = trainer.Start();
  for (uint32_t step = 0; step < 3; ++step) {
    const auto read = trainer.TrainStep(source, Indices(9), {}, {step}, &a);
    const auto queued = trainer.QueueStep(source, Indices(9), {}, {step}, &b);
    ASSERT_TRUE(read.ok() && queued.ok());
    EXPECT_EQ(queued->item<double>(), read->loss);
    ExpectSameBits(a, b);
  }
}

// The update of TrainStep made by hand of two calls, as GSAM does.
TEST(Trainer, GradientIsThatOfTheBatchAndChangesNothing) {
  const TensorSource source = TinySource(9);
  StepOptions options;
  options.augmentation = {AugmentationFlavour::kDsa, {kColor, kCrop, kFlip}};
  for (Norm norm : {Norm::kInstance, Norm::kBatch}) {
    const auto network = TinyNetwork(norm);
    SingleProcessCollective collective;
    Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
    TrainingState state = trainer.Start();
    const TrainingState before = state.Clone();
    const auto gradient = [&](const at::Tensor& parameters) {
      const auto batch = trainer.Gradient(source, Indices(9), options, {3, 1},
                                          parameters, state.buffers, 5);
      EXPECT_TRUE(batch.ok()) << batch.status();
      return *batch;
    };
    const BatchGradient first = gradient(state.parameters);
    const BatchGradient again = gradient(state.parameters);
    EXPECT_TRUE(first.gradient.equal(again.gradient));
    EXPECT_EQ(first.signal.item<double>(), 5);
    EXPECT_FALSE(
        first.gradient.equal(gradient(state.parameters * 1.01).gradient));
    ExpectSameBits(state, before);

    const auto step =
        trainer.TrainStep(source, Indices(9), options, {3, 1}, &state);
    ASSERT_TRUE(step.ok());
    EXPECT_EQ(step->loss, first.loss.item<double>());
    EXPECT_TRUE(state.buffers.equal(first.buffers));
    EXPECT_EQ(state.buffers.equal(before.buffers), norm == Norm::kInstance);
    EXPECT_TRUE(state.momentum.equal(
        first.gradient.add(before.parameters, options.weight_decay)));
  }
}

TEST(Trainer, SoftTargetsAreTrainedTowards) {
  const auto network = TinyNetwork();
  const at::Tensor images = TestTensor({6, 2, 8, 8}).to(at::kFloat);
  const at::Tensor targets =
      TestTensor({6, kTinyClasses}, 0.3).to(at::kFloat).mul(2).softmax(1);
  const TensorSource soft(images, {0, 1, 2, 0, 1, 2}, targets);
  SingleProcessCollective collective;
  // Slices do not matter to a target.
  Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
  TrainingState state = trainer.Start();
  const std::vector<int64_t> batch = {5, 0, 3, 1, 4};
  const auto result =
      trainer.Gradient(soft, batch, {}, {}, state.parameters, state.buffers);
  ASSERT_TRUE(result.ok()) << result.status();
  const at::Tensor leaf = state.parameters.clone().requires_grad_();
  const at::Tensor rows = at::tensor(batch, at::kLong);
  const at::Tensor logits = network->Forward(
      network->Slice(leaf), images.index_select(0, rows), BufferMode::kTrain);
  const at::Tensor loss =
      -(targets.index_select(0, rows) * logits.log_softmax(1)).sum() / 5;
  EXPECT_NEAR(result->loss.item<double>(), loss.item<double>(), 1e-5);
  EXPECT_TRUE(result->gradient.allclose(
      torch::autograd::grad({loss}, {leaf}).front(), 1e-3, 1e-6));

  // Certain labels are hard labels.
  const at::Tensor certain =
      at::one_hot(at::tensor({0, 1, 2, 0, 1, 2}, at::kLong), kTinyClasses)
          .to(at::kFloat);
  const TensorSource hard(images, {0, 1, 2, 0, 1, 2});
  const TensorSource sure(images, {0, 1, 2, 0, 1, 2}, certain);
  const auto a =
      trainer.Gradient(hard, batch, {}, {}, state.parameters, state.buffers);
  const auto b =
      trainer.Gradient(sure, batch, {}, {}, state.parameters, state.buffers);
  EXPECT_TRUE(a->gradient.allclose(b->gradient, 1e-4, 1e-7));
}

TEST(Trainer, CutMixWithSoftTargetsIsRefused) {
  const auto network = TinyNetwork();
  const TensorSource soft(
      TestTensor({3, 2, 8, 8}).to(at::kFloat), {0, 1, 2},
      at::ones({3, kTinyClasses}, at::kFloat) / kTinyClasses);
  SingleProcessCollective collective;
  Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
  TrainingState state = trainer.Start();
  StepOptions options;
  options.cutmix = 0.5;
  const auto result = trainer.TrainStep(soft, Indices(3), options, {}, &state);
  EXPECT_EQ(FieldOf(result.status()), "evaluation.cutmix");
}

TEST(Trainer, DrawsDependOnSeedAndPrefix) {
  const auto network = TinyNetwork();
  SingleProcessCollective collective;
  const at::Tensor start =
      Trainer(network.get(), Groups(4), 1, "a", &collective).Start().parameters;
  EXPECT_FALSE(
      start.equal(Trainer(network.get(), Groups(4), 2, "a", &collective)
                      .Start()
                      .parameters));
  EXPECT_FALSE(
      start.equal(Trainer(network.get(), Groups(4), 1, "b", &collective)
                      .Start()
                      .parameters));
}

TEST(Trainer, ResumedRunEndsWithTheSameBits) {
  const TensorSource source = TinySource(21);
  for (Recipe recipe_kind : {Recipe::kIdc, Recipe::kDc, Recipe::kTrajectory}) {
    TrainingRecipe recipe = IdcRecipe(10);
    recipe.recipe = recipe_kind;
    for (Norm norm : {Norm::kInstance, Norm::kBatch}) {
      const auto network = TinyNetwork(norm);
      const TrainingState straight = TrainAlone(recipe, *network, source);
      SingleProcessCollective collective;
      // 5 is the step before which the dc recipe forgets its momentum.
      for (int64_t stop : {1, 5, 9}) {
        std::string checkpoint;
        int64_t polls = 0;
        TrainHooks hooks;
        hooks.poll = [&] {
          return ++polls == stop ? TrainHooks::Wish::kStop
                                 : TrainHooks::Wish::kNone;
        };
        hooks.checkpoint = [&](const TrainingState& state) {
          EXPECT_EQ(state.step, stop);
          const auto tensors = state.ToTensors("net.");
          std::map<std::string, TensorView> views;
          for (const auto& [name, tensor] : tensors) {
            views.emplace(name, ViewOf(tensor));
          }
          checkpoint = SerializeSafetensors(views);
          return absl::OkStatus();
        };
        Trainer first(network.get(), Groups(4), 1, "test", &collective);
        TrainingState state = first.Start();
        const auto stopped = first.Train(recipe, source, hooks, &state);
        ASSERT_FALSE(stopped.ok());
        EXPECT_EQ(FailureClassOf(stopped.status()), FailureClass::kPreempted);

        const auto file = *SafetensorsFile::Parse(checkpoint);
        auto resumed = LoadTrainingState(*file, "net.", *network);
        ASSERT_TRUE(resumed.ok()) << resumed.status();
        Trainer second(network.get(), Groups(4), 1, "test", &collective);
        ASSERT_TRUE(second.Train(recipe, source, {}, &*resumed).ok());
        ExpectSameBits(*resumed, straight);
      }
    }
  }
}

TEST(Trainer, CheckpointsWithoutStoppingLeaveTheResult) {
  const TensorSource source = TinySource(12);
  const auto network = TinyNetwork();
  const TrainingRecipe recipe = IdcRecipe(6);
  const TrainingState straight = TrainAlone(recipe, *network, source);
  SingleProcessCollective collective;
  std::vector<int64_t> checkpoints, progress;
  TrainHooks hooks;
  hooks.poll = [] { return TrainHooks::Wish::kCheckpoint; };
  hooks.checkpoint = [&](const TrainingState& state) {
    checkpoints.push_back(state.step);
    return absl::OkStatus();
  };
  hooks.progress = [&](int64_t step, double loss) {
    EXPECT_GT(loss, 0);
    progress.push_back(step);
  };
  Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
  TrainingState state = trainer.Start();
  ASSERT_TRUE(trainer.Train(recipe, source, hooks, &state).ok());
  EXPECT_EQ(checkpoints, (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(progress, checkpoints);
  ExpectSameBits(state, straight);
}

TEST(Trainer, EveryRankStopsAtTheStepThatRankZeroWished) {
  const TensorSource source = TinySource(12);
  const auto network = TinyNetwork();
  std::mutex mutex;
  std::vector<int64_t> stopped_at;
  RunGang(3, [&](Collective* collective) {
    int64_t polls = 0;
    TrainHooks hooks;
    hooks.poll = [&] {
      EXPECT_EQ(collective->rank(), 0);
      return ++polls == 3 ? TrainHooks::Wish::kStop : TrainHooks::Wish::kNone;
    };
    hooks.checkpoint = [&](const TrainingState& state) {
      const std::lock_guard lock(mutex);
      stopped_at.push_back(state.step);
      return absl::OkStatus();
    };
    Trainer trainer(network.get(), Groups(2), 1, "test", collective);
    TrainingState state = trainer.Start();
    const auto loss = trainer.Train(IdcRecipe(9), source, hooks, &state);
    EXPECT_EQ(FailureClassOf(loss.status()), FailureClass::kPreempted);
  });
  EXPECT_EQ(stopped_at, (std::vector<int64_t>{3, 3, 3}));
}

// Remembers which images were asked for.
class RecordingSource final : public ImageSource {
 public:
  explicit RecordingSource(TensorSource source) : source_(std::move(source)) {}
  int64_t size() const override { return source_.size(); }
  ImageShape shape() const override { return source_.shape(); }
  const std::vector<int64_t>& labels() const override {
    return source_.labels();
  }
  at::Tensor Normalised(absl::Span<const int64_t> indices) const override {
    calls.emplace_back(indices.begin(), indices.end());
    return source_.Normalised(indices);
  }
  mutable std::vector<std::vector<int64_t>> calls;

 private:
  TensorSource source_;
};

TEST(Trainer, WalksTheDataInEpochsAndKeepsTheShortBatch) {
  const RecordingSource source(TinySource(10));
  const auto network = TinyNetwork();
  TrainingRecipe recipe = IdcRecipe(6);
  recipe.batch = 4;
  recipe.cutmix = 0;
  TrainAlone(recipe, *network, source);
  // Two epochs of 4, 4 and 2 images, a slice a batch.
  ASSERT_EQ(source.calls.size(), 6);
  std::vector<std::vector<int64_t>> epochs(2);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(source.calls[i].size(), i % 3 == 2 ? 2 : 4);
    epochs[i / 3].insert(epochs[i / 3].end(), source.calls[i].begin(),
                         source.calls[i].end());
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (std::vector<int64_t>& epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    EXPECT_EQ(epoch, Indices(10));
  }
}

TEST(Trainer, NonFiniteLossIsNumericAndLeavesTheState) {
  const auto network = TinyNetwork(Norm::kBatch);
  at::Tensor images = TestTensor({4, 2, 8, 8}).to(at::kFloat);
  images[2][0][3][3] = std::numeric_limits<float>::infinity();
  const TensorSource source(images, {0, 1, 2, 0});
  SingleProcessCollective collective;
  Trainer trainer(network.get(), Groups(4), 1, "test", &collective);
  TrainingState state = trainer.Start();
  state.step = 17;
  const TrainingState before = state.Clone();
  const auto result = trainer.TrainStep(source, Indices(4), {}, {}, &state);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(FailureClassOf(result.status()), FailureClass::kNumeric);
  EXPECT_NE(result.status().message().find("step 17"), std::string::npos);
  ExpectSameBits(state, before);
}

TEST(Trainer, LearnsToTellClassesApart) {
  const TensorSource source = TinySource(30);
  const auto network = TinyNetwork();
  SingleProcessCollective collective;
  Trainer trainer(network.get(), Groups(8), 1, "test", &collective);
  TrainingState state = trainer.Start();
  TrainingRecipe recipe = IdcRecipe(60);
  recipe.augmentation = {};
  recipe.cutmix = 0;
  recipe.learning_rate = 0.05;
  double first = 0;
  TrainHooks hooks;
  hooks.progress = [&](int64_t step, double loss) {
    if (step == 1) first = loss;
  };
  const auto last = trainer.Train(recipe, source, hooks, &state);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_LT(*last, 0.5 * first);
}

TEST(Trainer, SignalOfRankZeroReachesEveryRank) {
  const TensorSource source = TinySource(9);
  const auto network = TinyNetwork();
  RunGang(3, [&](Collective* collective) {
    Trainer trainer(network.get(), Groups(2), 1, "test", collective);
    TrainingState state = trainer.Start();
    const int mine = collective->rank() == 0 ? 7 : 99;
    const auto result =
        trainer.TrainStep(source, Indices(9), {}, {}, &state, mine);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->signal, 7);
  });
}

TEST(TrainingState, AnotherNetworksCheckpointIsRefused) {
  const auto network = TinyNetwork();
  SingleProcessCollective collective;
  const auto tensors = Trainer(network.get(), Groups(4), 1, "test", &collective)
                           .Start()
                           .ToTensors("");
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : tensors)
    views.emplace(name, ViewOf(tensor));
  const auto file = *SafetensorsFile::Parse(SerializeSafetensors(views));
  EXPECT_TRUE(LoadTrainingState(*file, "", *network).ok());
  EXPECT_EQ(
      LoadTrainingState(*file, "", *TinyNetwork(Norm::kBatch)).status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(LoadTrainingState(*file, "other.", *network).ok());
}

}  // namespace
}  // namespace dasm
