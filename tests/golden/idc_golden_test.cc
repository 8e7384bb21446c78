// The engine against an independent computation in double precision
// (idc_reference.py, frozen in idc_reference.safetensors).
//
// Tolerance: both sides are fp64 and differ in the order of sums only. The
// longest chain (a second derivative through three blocks) adds some 1e5 terms
// of mixed sign: sqrt(1e5) * 2.2e-16 is 7e-14 of the terms' size; 1e-10 of the
// largest value leaves three digits and is far below what a wrong constant
// does (the negative controls move results by more than 1e-4).
#include <ATen/ATen.h>

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/golden/golden_file.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/matcher/distance.h"
#include "worker/engine/matcher/gradient_matcher.h"
#include "worker/engine/network/network.h"
#include "worker/engine/parameterization/multi_formation.h"
#include "worker/engine/update/pixel_update.h"

namespace dasm {
namespace {

constexpr double kTolerance = 1e-10;
constexpr double kVisible = 1e-4;

at::Tensor Get(const std::string& name) {
  static const auto* file = new GoldenFile(DASM_IDC_REFERENCE);
  return file->Get(name);
}

NetworkSpec Spec(int depth, int width) {
  NetworkSpec spec;
  spec.depth = depth;
  spec.width = width;
  return spec;
}

void ExpectNetwork(const std::string& tag, const NetworkSpec& spec,
                   ImageShape shape, int classes) {
  const auto network = MakeNetwork(spec, shape, classes);
  ASSERT_TRUE(network.ok()) << network.status();
  at::Tensor flat = Get(tag + ".parameters");
  ASSERT_EQ((*network)->parameters().total(), flat.numel());
  flat.set_requires_grad(true);
  const at::Tensor logits = (*network)->Forward(
      (*network)->Slice(flat), Get(tag + ".images"), BufferMode::kTrain);
  EXPECT_LT(Error(logits.detach(), Get(tag + ".logits")), kTolerance);
  const at::Tensor loss = at::cross_entropy_loss(logits, Get(tag + ".labels"));
  loss.backward();
  EXPECT_LT(Error(flat.grad(), Get(tag + ".gradient")), kTolerance);
}

TEST(IdcGolden, NetworkAndItsGradientGrey28) {
  ExpectNetwork("grey", Spec(3, 4), {1, 28, 28}, 3);
}

TEST(IdcGolden, NetworkAndItsGradientRgb) {
  ExpectNetwork("rgb", Spec(2, 6), {3, 16, 16}, 4);
}

TEST(IdcGolden, Distances) {
  std::vector<at::Tensor> a, b;
  for (int i = 0; i < 4; ++i) {
    a.push_back(Get("distance.a." + std::to_string(i)));
    b.push_back(Get("distance.b." + std::to_string(i)));
  }
  const std::pair<Distance, const char*> cases[] = {
      {Distance::kL1, "distance.l1"},
      {Distance::kMse, "distance.mse"},
      {Distance::kCosine, "distance.cosine"}};
  for (const auto& [distance, name] : cases) {
    EXPECT_LT(Error(GradientDistance(distance, a, b).reshape({1}), Get(name)),
              kTolerance)
        << name;
    // Negative control: one tensor of the other side.
    std::vector<at::Tensor> wrong = b;
    wrong[0] = a[0];
    EXPECT_GT(
        Error(GradientDistance(distance, a, wrong).reshape({1}), Get(name)),
        kVisible);
  }
}

// A draw for `n` images that changes nothing.
AugmentationDraw Identity(int64_t n) {
  AugmentationDraw draw;
  const auto whole = at::TensorOptions().dtype(at::kLong);
  const auto real = at::TensorOptions().dtype(at::kDouble);
  draw.flip = at::zeros({n}, whole);
  draw.brightness = at::zeros({n}, real);
  draw.saturation = at::ones({n}, real);
  draw.contrast = at::ones({n}, real);
  draw.shift_y = draw.shift_x = at::zeros({n}, whole);
  draw.cutout_y = draw.cutout_x = at::zeros({n}, whole);
  draw.scale_y = draw.scale_x = at::ones({n}, real);
  draw.angle = at::zeros({n}, real);
  return draw;
}

TEST(IdcGolden, EveryAugmentation) {
  const at::Tensor images = Get("augment.images");
  auto expect = [&](AugmentationDraw draw, Augmentation operation,
                    const std::string& name) {
    draw.operations = {operation};
    const at::Tensor actual = ApplyAugmentation(images, draw);
    EXPECT_LT(Error(actual, Get(name)), kTolerance) << name;
    EXPECT_GT(Error(images, Get(name)), kVisible) << name;
  };
  AugmentationDraw draw = Identity(4);
  draw.brightness = Get("augment.brightness");
  draw.saturation = Get("augment.saturation");
  draw.contrast = Get("augment.contrast");
  draw.shift_y = Get("augment.shift_y");
  draw.shift_x = Get("augment.shift_x");
  draw.cutout_y = Get("augment.cutout_y");
  draw.cutout_x = Get("augment.cutout_x");
  draw.flip = Get("augment.flips");
  draw.scale_y = Get("augment.scale_y");
  draw.scale_x = Get("augment.scale_x");
  draw.angle = Get("augment.angle");
  expect(draw, Augmentation::kColor, "augment.color");
  expect(draw, Augmentation::kCrop, "augment.crop");
  expect(draw, Augmentation::kCutout, "augment.cutout");
  expect(draw, Augmentation::kFlip, "augment.flip");
  expect(draw, Augmentation::kScale, "augment.scale.plain");
  expect(draw, Augmentation::kRotate, "augment.rotate.plain");
  draw.align_corners = true;
  expect(draw, Augmentation::kScale, "augment.scale.aligned");
  expect(draw, Augmentation::kRotate, "augment.rotate.aligned");
}

TEST(IdcGolden, MultiFormation) {
  const at::Tensor stored = Get("decode.images");
  EXPECT_LT(Error(MultiFormation(2).Decode(stored), Get("decode.2")),
            kTolerance);
  EXPECT_LT(Error(MultiFormation(3).Decode(stored), Get("decode.3")),
            kTolerance);
}

class WholeStep : public testing::Test {
 protected:
  WholeStep()
      : network_(*MakeNetwork(Spec(3, 4), {1, 28, 28}, 3)),
        settings_(Get("step.settings")) {}

  // Distances [3] and gradients of a pass with parameters `theta`.
  std::pair<at::Tensor, at::Tensor> Pass(const at::Tensor& theta) const {
    const double mean = settings_[2].item<double>();
    const double std = settings_[3].item<double>();
    GradientMatcher::Options options;
    options.distance = Distance::kL1;
    options.layers = Layers::kConvolutions;
    options.formation = MultiFormation(2);
    options.normalization = {{mean}, {std}};
    const GradientMatcher matcher(network_.get(), options);
    const at::Tensor pixels = Get("step.pixels"), real = Get("step.real");
    std::vector<double> distances;
    std::vector<at::Tensor> gradients;
    for (int64_t k = 0; k < 3; ++k) {
      AugmentationDraw draw = Identity(1);
      draw.operations = {Augmentation::kColor, Augmentation::kCrop,
                         Augmentation::kCutout};
      auto one = [k](const char* name) { return Get(name).narrow(0, k, 1); };
      draw.brightness = one("step.brightness");
      draw.saturation = one("step.saturation");
      draw.contrast = one("step.contrast");
      draw.shift_y = one("step.shift_y");
      draw.shift_x = one("step.shift_x");
      draw.cutout_y = one("step.cutout_y");
      draw.cutout_x = one("step.cutout_x");
      ClassBatch batch;
      batch.label = k;
      batch.real = (real[k] - mean) / std;
      batch.stored = pixels[k];
      batch.augmentation = &draw;
      ClassMatch match = matcher.Match(theta, batch);
      distances.push_back(match.distance.item<double>());
      gradients.push_back(match.gradient);
    }
    return {at::tensor(distances, at::kDouble), at::stack(gradients)};
  }

  std::unique_ptr<Network> network_;
  at::Tensor settings_;
};

TEST_F(WholeStep, DistancesAndPixelGradientsAgree) {
  const auto [distances, gradients] = Pass(Get("step.parameters"));
  EXPECT_LT(Error(distances, Get("step.losses")), kTolerance);
  EXPECT_LT(Error(gradients, Get("step.gradients")), kTolerance);
}

TEST_F(WholeStep, ASlightlyOtherNetworkIsNoticed) {
  const auto [distances, gradients] = Pass(Get("step.parameters") * 1.001);
  EXPECT_GT(Error(distances, Get("step.losses")), kVisible);
  EXPECT_GT(Error(gradients, Get("step.gradients")), kVisible);
}

TEST_F(WholeStep, TheUpdateIsThatOfTheSerialOptimiser) {
  at::Tensor pixels = Get("step.pixels"), velocity = Get("step.velocity");
  const PixelUpdate update(settings_[0].item<double>(),
                           settings_[1].item<double>(), 3);
  update.Step(Get("step.gradients"), &pixels, &velocity);
  EXPECT_LT(Error(pixels, Get("step.new_pixels")), kTolerance);
  EXPECT_LT(Error(velocity, Get("step.new_velocity")), kTolerance);
}

}  // namespace
}  // namespace dasm
