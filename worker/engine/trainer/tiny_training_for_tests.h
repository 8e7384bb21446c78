// A small network, data and recipe to train it, for tests of training.
#ifndef DASM_WORKER_ENGINE_TRAINER_TINY_TRAINING_FOR_TESTS_H_
#define DASM_WORKER_ENGINE_TRAINER_TINY_TRAINING_FOR_TESTS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {

inline constexpr ImageShape kTinyShape = {2, 8, 8};
inline constexpr int kTinyClasses = 3;

inline std::unique_ptr<Network> TinyNetwork(Norm norm = Norm::kInstance,
                                            ImageShape shape = kTinyShape) {
  NetworkSpec spec;
  spec.depth = 2;
  spec.width = 8;
  spec.norm = norm;
  return *MakeNetwork(spec, shape, kTinyClasses);
}

// 0, 1, 2, 0, ...
inline std::vector<int64_t> RoundLabels(int64_t n) {
  std::vector<int64_t> labels(n);
  for (int64_t i = 0; i < n; ++i) labels[i] = i % kTinyClasses;
  return labels;
}

// Labels go round; classes differ in brightness.
inline TensorSource TinySource(int64_t n, ImageShape shape = kTinyShape) {
  const std::vector<int64_t> labels = RoundLabels(n);
  const at::Tensor level =
      at::tensor(labels, at::kDouble).view({-1, 1, 1, 1}) - 1;
  return TensorSource(
      (TestTensor({n, shape.channels, shape.height, shape.width}) + level)
          .to(at::kFloat),
      labels);
}

inline ExecutionSpec Groups(int train_group) {
  ExecutionSpec execution;
  execution.train_group = train_group;
  return execution;
}

// 0 .. n - 1.
inline std::vector<int64_t> Indices(int64_t n) {
  std::vector<int64_t> indices(n);
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

inline TrainingRecipe IdcRecipe(int steps) {
  using enum Augmentation;
  TrainingRecipe recipe;
  recipe.steps = steps;
  recipe.batch = 8;
  recipe.augmentation = {kColor, kCrop, kFlip, kScale, kRotate};
  return recipe;
}

inline void ExpectSameBits(const TrainingState& a, const TrainingState& b) {
  EXPECT_EQ(a.step, b.step);
  EXPECT_TRUE(a.parameters.equal(b.parameters));
  EXPECT_TRUE(a.buffers.equal(b.buffers));
  EXPECT_TRUE(a.momentum.equal(b.momentum));
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TRAINER_TINY_TRAINING_FOR_TESTS_H_
