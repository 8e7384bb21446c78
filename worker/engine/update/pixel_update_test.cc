#include "worker/engine/update/pixel_update.h"

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"

namespace dasm {
namespace {

GradientMatchingSpec Spec(double base, int base_size) {
  GradientMatchingSpec spec;
  spec.image_learning_rate = base;
  spec.base_size = base_size;
  return spec;
}

TEST(ImageLearningRate, GivesThePublishedTable) {
  const GradientMatchingSpec cifar = Spec(5e-3, 32);
  EXPECT_DOUBLE_EQ(ImageLearningRate(cifar, 1, 32), 5e-4);
  EXPECT_DOUBLE_EQ(ImageLearningRate(cifar, 10, 32), 5e-3);
  EXPECT_DOUBLE_EQ(ImageLearningRate(cifar, 50, 32), 2.5e-2);
  EXPECT_DOUBLE_EQ(ImageLearningRate(cifar, 1000, 32), 0.5);
  const GradientMatchingSpec mnist = Spec(1e-4, 28);
  EXPECT_DOUBLE_EQ(ImageLearningRate(mnist, 1, 28), 1e-5);
  EXPECT_DOUBLE_EQ(ImageLearningRate(mnist, 50, 28), 5e-4);
  const GradientMatchingSpec fashion = Spec(1e-4, 32);
  EXPECT_NEAR(ImageLearningRate(fashion, 1, 28), 7.7e-6, 5e-8);
  EXPECT_NEAR(ImageLearningRate(fashion, 10, 28), 7.7e-5, 5e-7);
  EXPECT_NEAR(ImageLearningRate(fashion, 50, 28), 3.8e-4, 5e-6);
  const GradientMatchingSpec imagenet = Spec(3e-3, 224);
  EXPECT_NEAR(ImageLearningRate(imagenet, 10, 128), 9.8e-4, 5e-6);
  EXPECT_NEAR(ImageLearningRate(imagenet, 50, 128), 4.9e-3, 5e-5);
}

TEST(ImageLearningRate, IsTakenAsItIsWhenNotScaled) {
  GradientMatchingSpec spec = Spec(0.1, 32);
  spec.scale_learning_rate = false;
  EXPECT_EQ(ImageLearningRate(spec, 50, 28), 0.1);
}

// What IDC's code does: one SGD step with momentum on the whole set for each
// class, with a gradient for that class only. Pixel 0 of C belongs to class 0
// and so on; the tail of a pass is the steps after a class's own.
TEST(PixelUpdate, EqualsTheSerialOptimiserOfAllClasses) {
  constexpr int kClasses = 10;
  constexpr int kPasses = 7;
  constexpr double kRate = 0.3;
  constexpr double kMomentum = 0.5;
  const auto gradient = [](int pass, int c) {
    return std::sin(1.0 + 3.7 * pass + 1.3 * c);
  };

  double x[kClasses] = {};
  double b[kClasses] = {};
  for (int pass = 0; pass < kPasses; ++pass) {
    for (int turn = 0; turn < kClasses; ++turn) {
      for (int c = 0; c < kClasses; ++c) {
        b[c] = kMomentum * b[c] + (c == turn ? gradient(pass, c) : 0.0);
        x[c] -= kRate * b[c];
      }
    }
  }
  // The tail not yet applied: class c still misses c steps.
  for (int c = 0; c < kClasses; ++c) {
    for (int missing = 0; missing < c; ++missing) {
      b[c] *= kMomentum;
      x[c] -= kRate * b[c];
    }
  }

  at::Tensor pixels = at::zeros({kClasses}, at::kDouble);
  at::Tensor velocity = at::zeros({kClasses}, at::kDouble);
  const PixelUpdate update(kRate, kMomentum, kClasses);
  for (int pass = 0; pass < kPasses; ++pass) {
    at::Tensor g = at::empty({kClasses}, at::kDouble);
    for (int c = 0; c < kClasses; ++c) {
      g.data_ptr<double>()[c] = gradient(pass, c);
    }
    update.Step(g, &pixels, &velocity);
  }
  for (int c = 0; c < kClasses; ++c) {
    EXPECT_NEAR(pixels.data_ptr<double>()[c], x[c], 5e-15) << c;
  }
  // An ordinary momentum per class is something else.
  EXPECT_GT(std::abs(kRate * gradient(0, 0) - x[0]), 1e-3);
}

TEST(PixelUpdate, MovesRowsWithoutAGradientByTheirMomentum) {
  at::Tensor pixels = at::zeros({2}, at::kFloat);
  at::Tensor velocity = at::zeros({2}, at::kFloat);
  const PixelUpdate update(1.0, 0.5, 2);
  at::Tensor gradient = at::zeros({2}, at::kFloat);
  gradient[0] = 1.0;
  // (1 - 1/4) / (1 - 1/2) = 1.5
  EXPECT_EQ(update.Step(gradient, &pixels, &velocity).item<double>(), 1.5);
  EXPECT_EQ(update.Step(at::zeros({2}, at::kFloat), &pixels, &velocity)
                .item<double>(),
            0.375);
  EXPECT_EQ(pixels[0].item<float>(), -1.875f);
  EXPECT_EQ(pixels[1].item<float>(), 0.0f);
}

}  // namespace
}  // namespace dasm
