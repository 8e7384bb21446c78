// What a recipe makes of a training: its rates, its momentum and what its steps
// do to images.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/trainer/tiny_training_for_tests.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {
namespace {

using enum Augmentation;

TEST(LearningRate, FallsAtTheStepsOfItsRecipe) {
  TrainingRecipe recipe;
  recipe.steps = 60;
  recipe.learning_rate = 0.01;
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 0, 7), 0.01);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 39, 7), 0.01);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 40, 7), 0.002);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 49, 7), 0.002);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 50, 7), 0.0004);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 59, 7), 0.0004);
  recipe.recipe = Recipe::kDc;
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 29, 7), 0.01);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 30, 7), 0.001);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 59, 7), 0.001);
}

TEST(DropStep, OfTheTrajectoryRecipeFollowsTheLastFullPass) {
  TrainingRecipe recipe;
  recipe.recipe = Recipe::kTrajectory;
  recipe.learning_rate = 0.02;
  const auto drop = [&](int steps, int64_t batches) {
    recipe.steps = steps;
    return DropStep(recipe, batches);
  };
  // 1001 passes: passes 0 .. 501 at the full rate.
  EXPECT_EQ(drop(1001, 1), 502);
  EXPECT_EQ(drop(7 * 1001, 7), 7 * 502);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 7 * 502 - 1, 7), 0.02);
  EXPECT_DOUBLE_EQ(LearningRate(recipe, 7 * 502, 7), 0.002);
  // A pass that was only begun is one.
  EXPECT_EQ(drop(7 * 1000 + 1, 7), 7 * 502);
  EXPECT_EQ(drop(4, 1), 3);
  EXPECT_EQ(drop(3, 1), 3);  // after the last
  EXPECT_EQ(drop(1, 1), 2);
}

// After `last_full_step` steps of a batch of 8 the momentum starts again: the
// next step is a tenth of the rate times the plain gradient of all images.
void ExpectFreshMomentumAfter(int64_t last_full_step, TrainingRecipe recipe) {
  const TensorSource source = TinySource(8);
  const auto network = TinyNetwork();
  SingleProcessCollective collective;
  recipe.augmentation = {};
  recipe.cutmix = 0;
  recipe.weight_decay = 0;
  Trainer trainer(network.get(), Groups(8), 1, "test", &collective);
  TrainingState state = trainer.Start();
  at::Tensor before;
  bool seen = false;
  TrainHooks hooks;
  hooks.progress = [&](int64_t step, double) {
    if (step == last_full_step) before = state.parameters.clone();
    if (step != last_full_step + 1) return;
    seen = true;
    const at::Tensor moved = before - state.parameters;
    EXPECT_TRUE(moved.allclose(0.001 * state.momentum, 1e-3, 1e-7));
    const at::Tensor leaf = before.clone().requires_grad_();
    const at::Tensor loss = at::cross_entropy_loss(
        network->Forward(network->Slice(leaf), source.Normalised(Indices(8)),
                         BufferMode::kTrain),
        source.Labels(Indices(8)));
    EXPECT_TRUE(state.momentum.allclose(
        torch::autograd::grad({loss}, {leaf}).front(), 1e-3, 1e-5));
  };
  ASSERT_TRUE(trainer.Train(recipe, source, hooks, &state).ok());
  EXPECT_TRUE(seen);
}

TEST(Trainer, DcForgetsItsMomentumAtHalf) {
  TrainingRecipe recipe = IdcRecipe(4);
  recipe.recipe = Recipe::kDc;
  ExpectFreshMomentumAfter(2, recipe);
}

TEST(Trainer, TrajectoryForgetsItsMomentumBehindTheMiddle) {
  // A batch a pass; E = 4: pass 4 / 2 + 1 = 3, the fourth, is the last.
  TrainingRecipe recipe = IdcRecipe(5);
  recipe.recipe = Recipe::kTrajectory;
  ExpectFreshMomentumAfter(4, recipe);
}

TEST(StepOptions, AugmentationFollowsTheRecipe) {
  TrainingRecipe recipe = IdcRecipe(10);
  recipe.augmentation = {kRotate, kScale, kCrop};
  StepOptions options = StepOptionsFor(recipe, 0, 7);
  EXPECT_FALSE(options.dc_mnist);
  EXPECT_EQ(options.augmentation.flavour, AugmentationFlavour::kIdc);
  recipe.recipe = Recipe::kDc;
  options = StepOptionsFor(recipe, 0, 7);
  EXPECT_TRUE(options.dc_mnist);
  EXPECT_TRUE(options.augmentation.operations.empty());
  recipe.augmentation.push_back(kColor);
  options = StepOptionsFor(recipe, 0, 7);
  EXPECT_FALSE(options.dc_mnist);
  EXPECT_EQ(options.augmentation.flavour, AugmentationFlavour::kDsa);
  EXPECT_EQ(options.augmentation.operations.size(), 4);
  EXPECT_FALSE(options.augmentation.align_corners);
  recipe.recipe = Recipe::kTrajectory;
  recipe.augmentation = {kCrop, kScale, kRotate};
  options = StepOptionsFor(recipe, 0, 7);
  EXPECT_FALSE(options.dc_mnist);
  EXPECT_EQ(options.augmentation.flavour, AugmentationFlavour::kDsa);
  EXPECT_TRUE(options.augmentation.align_corners);
  EXPECT_EQ(options.augmentation.operations.size(), 3);
}

}  // namespace
}  // namespace dasm
