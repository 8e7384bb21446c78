#include "worker/engine/trainer/stages.h"

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/shard/gang_for_tests.h"
#include "worker/engine/trainer/tiny_training_for_tests.h"

namespace dasm {
namespace {

using enum Augmentation;

class StagesTest : public ::testing::Test {
 protected:
  StagesTest() {
    NetworkSpec spec;
    spec.depth = 2;
    spec.width = 8;
    spec.norm = Norm::kBatch;
    network_ = *MakeNetwork(spec, {2, 8, 8}, 3);
    recipe_.recipe = Recipe::kTrajectory;
    recipe_.batch = 4;
    recipe_.steps = 11;
    recipe_.augmentation = {kColor, kCrop, kCutout, kFlip, kScale, kRotate};
    recipe_.cutmix = 0;
    for (int64_t i = 0; i < 15; ++i) labels_.push_back(i % 3);
    source_ = std::make_unique<TensorSource>(
        TestTensor({15, 2, 8, 8}).to(at::kFloat), labels_);
  }

  Trainer MakeTrainer(Collective* collective) const {
    ExecutionSpec execution;
    execution.train_group = 3;
    return Trainer(network_.get(), execution, 5, "test", collective);
  }

  StagedState Start(const Trainer& trainer) const {
    StagedState state;
    state.training = trainer.Start();
    return state;
  }

  StagedState RunAlone(const std::vector<TrainingStage>& stages) const {
    SingleProcessCollective collective;
    Trainer trainer = MakeTrainer(&collective);
    StagedState state = Start(trainer);
    const auto loss =
        TrainStages(recipe_, *source_, stages, {}, &trainer, &state);
    EXPECT_TRUE(loss.ok()) << loss.status();
    EXPECT_EQ(*loss, state.loss);
    EXPECT_GT(*loss, 0);
    return state;
  }

  const std::vector<SetSegment> segments_ = {{6, 0.02}, {5, 0.03}, {4, 0.01}};
  std::unique_ptr<Network> network_;
  TrainingRecipe recipe_;
  std::vector<int64_t> labels_;
  std::unique_ptr<TensorSource> source_;
};

void ExpectSameBits(const StagedState& a, const StagedState& b) {
  EXPECT_EQ(a.stage, b.stage);
  EXPECT_EQ(a.loss, b.loss);
  ExpectSameBits(a.training, b.training);
}

TEST_F(StagesTest, OrdersAreTheUnionTheGrowingAndTheSingleSegments) {
  using Stages = std::vector<TrainingStage>;
  EXPECT_EQ(StagesOf(Order::kUnion, segments_, recipe_, 2),
            (Stages{{0, 15, 0.01, 11}}));
  // Three passes of 2, 3 and 4 batches; of 2, 2 and 1.
  EXPECT_EQ(StagesOf(Order::kCumulative, segments_, recipe_, 2),
            (Stages{{0, 6, 0.02, 6}, {0, 11, 0.03, 9}, {0, 15, 0.01, 12}}));
  EXPECT_EQ(StagesOf(Order::kStaged, segments_, recipe_, 2),
            (Stages{{0, 6, 0.02, 6}, {6, 11, 0.03, 6}, {11, 15, 0.01, 3}}));
  recipe_.recipe = Recipe::kIdc;
  EXPECT_EQ(StagesOf(Order::kStaged, segments_, recipe_, 2)[0].steps, 4);
}

TEST_F(StagesTest, OneStageIsTheTraining) {
  const std::vector<TrainingStage> stages =
      StagesOf(Order::kUnion, segments_, recipe_, 0);
  const StagedState staged = RunAlone(stages);
  SingleProcessCollective collective;
  Trainer trainer = MakeTrainer(&collective);
  TrainingState state = trainer.Start();
  recipe_.learning_rate = 0.01;
  ASSERT_TRUE(trainer.Train(recipe_, *source_, {}, &state).ok());
  EXPECT_TRUE(staged.training.parameters.equal(state.parameters));
  EXPECT_TRUE(staged.training.buffers.equal(state.buffers));
}

// A stage is a training of its own images, from where the one before ended.
TEST_F(StagesTest, EachStageStartsAfreshFromTheParametersOfTheLast) {
  const std::vector<TrainingStage> stages =
      StagesOf(Order::kStaged, segments_, recipe_, 1);
  const StagedState staged = RunAlone(stages);
  SingleProcessCollective collective;
  Trainer trainer = MakeTrainer(&collective);
  TrainingState state = trainer.Start();
  for (uint32_t k = 0; k < 3; ++k) {
    state.momentum.zero_();
    state.step = 0;
    TrainingRecipe recipe = recipe_;
    recipe.steps = static_cast<int>(stages[k].steps);
    recipe.learning_rate = segments_[k].step_size;
    const SourceRange part(source_.get(), stages[k].begin, stages[k].end);
    ASSERT_TRUE(trainer.Train(recipe, part, {}, &state, k).ok());
  }
  EXPECT_TRUE(staged.training.parameters.equal(state.parameters));
  EXPECT_TRUE(staged.training.momentum.equal(state.momentum));
  EXPECT_EQ(staged.stage, 2);
}

TEST_F(StagesTest, StagesDrawForThemselves) {
  SingleProcessCollective collective;
  Trainer trainer = MakeTrainer(&collective);
  std::vector<double> losses;
  for (uint32_t k = 0; k < 2; ++k) {
    TrainingState state = trainer.Start();
    const auto loss = trainer.Train(recipe_, *source_, {}, &state, k);
    ASSERT_TRUE(loss.ok());
    losses.push_back(*loss);
  }
  EXPECT_NE(losses[0], losses[1]);
}

TEST_F(StagesTest, StoppedAnywhereItResumesWithTheSameBits) {
  const std::vector<TrainingStage> stages =
      StagesOf(Order::kCumulative, segments_, recipe_, 1);
  ASSERT_EQ(stages.size(), 3);
  const StagedState straight = RunAlone(stages);
  SingleProcessCollective collective;
  // 4 and 10 are the last steps of a stage.
  for (int stop : {1, 4, 5, 10, 18}) {
    std::string checkpoint;
    int polls = 0;
    int64_t last = 0;
    StageHooks hooks;
    hooks.poll = [&] {
      return ++polls == stop ? TrainHooks::Wish::kStop
                             : TrainHooks::Wish::kNone;
    };
    hooks.progress = [&](int64_t step, double) { last = step; };
    hooks.checkpoint = [&](const StagedState& state) {
      const auto tensors = state.ToTensors("net.");
      std::map<std::string, TensorView> views;
      for (const auto& [name, tensor] : tensors) {
        views.emplace(name, ViewOf(tensor));
      }
      checkpoint = SerializeSafetensors(views);
      return absl::OkStatus();
    };
    Trainer first = MakeTrainer(&collective);
    StagedState state = Start(first);
    const auto stopped =
        TrainStages(recipe_, *source_, stages, hooks, &first, &state);
    EXPECT_EQ(FailureClassOf(stopped.status()), FailureClass::kPreempted);
    EXPECT_EQ(last, stop);

    const auto file = *SafetensorsFile::Parse(checkpoint);
    auto resumed = LoadStagedState(*file, "net.", *network_);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    Trainer second = MakeTrainer(&collective);
    const auto loss =
        TrainStages(recipe_, *source_, stages, {}, &second, &*resumed);
    ASSERT_TRUE(loss.ok()) << loss.status();
    EXPECT_EQ(*loss, straight.loss);
    ExpectSameBits(*resumed, straight);
  }
}

TEST_F(StagesTest, NumberOfRanksDoesNotChangeABit) {
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 8;
  network_ = *MakeNetwork(spec, {2, 8, 8}, 3);
  const std::vector<TrainingStage> stages =
      StagesOf(Order::kCumulative, segments_, recipe_, 1);
  const StagedState alone = RunAlone(stages);
  RunGang(3, [&](Collective* collective) {
    Trainer trainer = MakeTrainer(collective);
    StagedState state = Start(trainer);
    ASSERT_TRUE(
        TrainStages(recipe_, *source_, stages, {}, &trainer, &state).ok());
    ExpectSameBits(state, alone);
  });
}

TEST_F(StagesTest, AStateOfMoreStagesIsRefused) {
  SingleProcessCollective collective;
  Trainer trainer = MakeTrainer(&collective);
  StagedState state = Start(trainer);
  state.stage = 1;
  EXPECT_EQ(TrainStages(recipe_, *source_,
                        StagesOf(Order::kUnion, segments_, recipe_, 0), {},
                        &trainer, &state)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dasm
