#include "worker/engine/augmentation/augmentation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "worker/engine/augmentation/operator_chain_for_tests.h"
#include "worker/engine/network/finite_differences.h"

namespace dasm {
namespace {

using enum Augmentation;

constexpr ImageShape kShape = {3, 8, 8};
const std::vector<Augmentation> kEvery = {kColor, kCrop,  kCutout,
                                          kFlip,  kScale, kRotate};

at::Tensor Images(int64_t n, ImageShape shape = kShape) {
  return TestTensor({n, shape.channels, shape.height, shape.width});
}

// One operation, parameters per image.
AugmentationDraw DrawOne(Augmentation operation, int64_t batch,
                         ImageShape shape = kShape, uint32_t a = 0) {
  return DrawAugmentation({AugmentationFlavour::kDsa, {operation}},
                          RandomStream(4, "test"), a, 0, batch, shape);
}

double Value(const at::Tensor& tensor, int64_t i) {
  return tensor[i].item<double>();
}

TEST(AugmentationDraw, DsaTakesOneOperationAndEveryOneInItsTurn) {
  std::set<Augmentation> seen;
  for (uint32_t a = 0; a < 200; ++a) {
    const AugmentationDraw draw =
        DrawAugmentation({AugmentationFlavour::kDsa, kEvery},
                         RandomStream(1, "test"), a, 0, 2, kShape);
    ASSERT_EQ(draw.operations.size(), 1);
    seen.insert(draw.operations[0]);
  }
  EXPECT_EQ(seen.size(), 6);
}

TEST(AugmentationDraw, IdcTakesAllInOrderWithOneGeometricOperation) {
  std::set<Augmentation> geometric;
  for (uint32_t a = 0; a < 100; ++a) {
    const AugmentationDraw draw =
        DrawAugmentation({AugmentationFlavour::kIdc, kEvery},
                         RandomStream(1, "test"), a, 0, 2, kShape);
    ASSERT_EQ(draw.operations.size(), 4);
    EXPECT_EQ(draw.operations[0], kFlip);
    EXPECT_EQ(draw.operations[1], kColor);
    geometric.insert(draw.operations[2]);
    EXPECT_EQ(draw.operations[3], kCutout);
  }
  EXPECT_EQ(geometric, (std::set<Augmentation>{kCrop, kScale, kRotate}));
  const AugmentationDraw draw =
      DrawAugmentation({AugmentationFlavour::kIdc, {kColor, kCrop, kCutout}},
                       RandomStream(1, "test"), 0, 0, 2, kShape);
  EXPECT_EQ(draw.operations,
            (std::vector<Augmentation>{kColor, kCrop, kCutout}));
}

TEST(AugmentationDraw, OrderOfTheListIsWithoutEffect) {
  std::vector<Augmentation> reversed(kEvery.rbegin(), kEvery.rend());
  for (auto flavour : {AugmentationFlavour::kDsa, AugmentationFlavour::kIdc}) {
    for (uint32_t a = 0; a < 20; ++a) {
      const RandomStream stream(1, "test");
      EXPECT_EQ(DrawAugmentation({flavour, kEvery}, stream, a, 0, 1, kShape)
                    .operations,
                DrawAugmentation({flavour, reversed}, stream, a, 0, 1, kShape)
                    .operations);
    }
  }
}

TEST(AugmentationDraw, NoOperationIsTheIdentity) {
  const at::Tensor images = Images(3);
  for (auto flavour : {AugmentationFlavour::kDsa, AugmentationFlavour::kIdc}) {
    const AugmentationDraw draw = DrawAugmentation(
        {flavour, {}}, RandomStream(1, "test"), 0, 0, 3, kShape);
    EXPECT_TRUE(ApplyAugmentation(images, draw).equal(images));
  }
}

TEST(AugmentationDraw, ParametersFillTheirRanges) {
  const ImageShape shape = {3, 32, 32};
  const AugmentationDraw draw = DrawOne(kColor, 4000, shape);
  const auto expect_range = [](const at::Tensor& values, double low,
                               double high) {
    const double slack = 0.01 * (high - low);
    EXPECT_GE(values.min().item<double>(), low);
    EXPECT_LE(values.min().item<double>(), low + slack);
    EXPECT_LE(values.max().item<double>(), high);
    EXPECT_GE(values.max().item<double>(), high - slack);
  };
  constexpr double kAngle = 15 * M_PI / 180;
  expect_range(draw.brightness, -0.5, 0.5);
  expect_range(draw.saturation, 0, 2);
  expect_range(draw.contrast, 0.5, 1.5);
  expect_range(draw.scale_x, 1 / 1.2, 1.2);
  expect_range(draw.scale_y, 1 / 1.2, 1.2);
  expect_range(draw.angle, -kAngle, kAngle);
  // Both ends of the integers are reached.
  for (const at::Tensor& shift : {draw.shift_x, draw.shift_y}) {
    EXPECT_EQ(shift.min().item<int64_t>(), -4);
    EXPECT_EQ(shift.max().item<int64_t>(), 4);
  }
  for (const at::Tensor& centre : {draw.cutout_x, draw.cutout_y}) {
    EXPECT_EQ(centre.min().item<int64_t>(), 0);
    EXPECT_EQ(centre.max().item<int64_t>(), 32);
  }
  EXPECT_NEAR(draw.flip.to(at::kDouble).mean().item<double>(), 0.5, 0.04);
  EXPECT_FALSE(draw.shift_x.equal(draw.shift_y));
  EXPECT_FALSE(draw.scale_x.equal(draw.scale_y));
}

TEST(AugmentationDraw, OddCutoutSquaresHaveTheirCentreInside) {
  // A side of 6 has a square of 3, whose centre is a pixel.
  const AugmentationDraw draw = DrawOne(kCutout, 500, {1, 6, 6});
  EXPECT_EQ(draw.cutout_y.min().item<int64_t>(), 0);
  EXPECT_EQ(draw.cutout_y.max().item<int64_t>(), 5);
}

TEST(Augmentation, FlipMirrorsTheDrawnImages) {
  const at::Tensor images = Images(16);
  const AugmentationDraw draw = DrawOne(kFlip, 16);
  const at::Tensor flipped = ApplyAugmentation(images, draw);
  for (int64_t i = 0; i < 16; ++i) {
    const bool mirrored = draw.flip[i].item<int64_t>() == 1;
    EXPECT_TRUE(flipped[i].equal(mirrored ? images[i].flip({2}) : images[i]));
  }
  EXPECT_GT(draw.flip.sum().item<int64_t>(), 0);
  EXPECT_LT(draw.flip.sum().item<int64_t>(), 16);
}

TEST(Augmentation, ColorIsBrightnessThenSaturationThenContrast) {
  const at::Tensor images = Images(3);
  const AugmentationDraw draw = DrawOne(kColor, 3);
  const at::Tensor colored = ApplyAugmentation(images, draw);
  for (int64_t i = 0; i < 3; ++i) {
    at::Tensor x = images[i] + Value(draw.brightness, i);
    at::Tensor mean = x.mean(0, true);
    x = (x - mean) * Value(draw.saturation, i) + mean;
    const double whole = x.mean().item<double>();
    x = (x - whole) * Value(draw.contrast, i) + whole;
    EXPECT_TRUE(colored[i].allclose(x, 1e-12, 1e-12));
  }
}

TEST(Augmentation, CropIsAZeroFilledShift) {
  const ImageShape shape = {2, 16, 12};
  const at::Tensor images = Images(8, shape);
  const AugmentationDraw draw = DrawOne(kCrop, 8, shape);
  const at::Tensor cropped = ApplyAugmentation(images, draw);
  for (int64_t i = 0; i < 8; ++i) {
    const int64_t dy = draw.shift_y[i].item<int64_t>();
    const int64_t dx = draw.shift_x[i].item<int64_t>();
    at::Tensor expected = at::zeros_like(images[i]);
    for (int64_t y = 0; y < 16; ++y) {
      for (int64_t x = 0; x < 12; ++x) {
        if (y + dy < 0 || y + dy >= 16 || x + dx < 0 || x + dx >= 12) continue;
        expected.select(1, y).select(1, x).copy_(
            images[i].select(1, y + dy).select(1, x + dx));
      }
    }
    EXPECT_TRUE(cropped[i].equal(expected)) << dy << " " << dx;
  }
}

TEST(Augmentation, CutoutCoversExactlyItsClippedSquare) {
  const at::Tensor images = Images(40) + 3;  // nowhere 0
  const AugmentationDraw draw = DrawOne(kCutout, 40);
  const at::Tensor cut = ApplyAugmentation(images, draw);
  bool whole = false, clipped = false;
  for (int64_t i = 0; i < 40; ++i) {
    const auto range = [](int64_t centre) {
      return std::pair(std::max<int64_t>(centre - 2, 0),
                       std::min<int64_t>(centre + 2, 8));
    };
    const auto [top, bottom] = range(draw.cutout_y[i].item<int64_t>());
    const auto [left, right] = range(draw.cutout_x[i].item<int64_t>());
    at::Tensor expected = images[i].clone();
    expected.narrow(1, top, bottom - top).narrow(2, left, right - left).zero_();
    EXPECT_TRUE(cut[i].equal(expected));
    const int64_t area = (bottom - top) * (right - left);
    (area == 16 ? whole : clipped) = true;
  }
  EXPECT_TRUE(whole);
  EXPECT_TRUE(clipped);
}

// Bilinear sampling at (x, y) of the unit picture, zeros outside.
double Sample(const at::Tensor& plane, double x, double y, bool align) {
  const int64_t height = plane.size(0);
  const int64_t width = plane.size(1);
  const auto unnormalise = [align](double v, int64_t side) {
    return align ? (v + 1) / 2 * (side - 1) : ((v + 1) * side - 1) / 2;
  };
  const double u = unnormalise(x, width);
  const double v = unnormalise(y, height);
  double sum = 0;
  for (int64_t j : {std::floor(v), std::floor(v) + 1}) {
    for (int64_t i : {std::floor(u), std::floor(u) + 1}) {
      if (j < 0 || j >= height || i < 0 || i >= width) continue;
      sum += plane[j][i].item<double>() * (1 - std::abs(u - i)) *
             (1 - std::abs(v - j));
    }
  }
  return sum;
}

class AffineAugmentation : public ::testing::TestWithParam<bool> {};

TEST_P(AffineAugmentation, SamplesTheTransformedGrid) {
  const bool align = GetParam();
  const ImageShape shape = {1, 8, 6};
  const at::Tensor images = Images(3, shape);
  for (Augmentation operation : {kScale, kRotate}) {
    const AugmentationDraw draw =
        DrawAugmentation({AugmentationFlavour::kDsa, {operation}, align},
                         RandomStream(4, "test"), 0, 0, 3, shape);
    const at::Tensor result = ApplyAugmentation(images, draw);
    for (int64_t i = 0; i < 3; ++i) {
      const double angle = operation == kRotate ? Value(draw.angle, i) : 0;
      const double sx = operation == kScale ? Value(draw.scale_x, i) : 1;
      const double sy = operation == kScale ? Value(draw.scale_y, i) : 1;
      for (int64_t y = 0; y < 8; ++y) {
        for (int64_t x = 0; x < 6; ++x) {
          const double u = align ? 2.0 * x / 5 - 1 : (2.0 * x + 1) / 6 - 1;
          const double v = align ? 2.0 * y / 7 - 1 : (2.0 * y + 1) / 8 - 1;
          EXPECT_NEAR(
              result[i][0][y][x].item<double>(),
              Sample(images[i][0],
                     sx * std::cos(angle) * u - std::sin(angle) * v,
                     std::sin(angle) * u + sy * std::cos(angle) * v, align),
              1e-9);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Corners, AffineAugmentation, ::testing::Bool());

// Draws of every operation, alone and in the order of IDC, whose geometric
// operation is crop, scale and rotate in turn.
std::vector<AugmentationDraw> DrawEverything(int64_t batch, ImageShape shape,
                                             bool align_corners = false) {
  std::vector<AugmentationDraw> draws;
  const RandomStream stream(4, "test");
  for (const Augmentation a : kEvery) {
    draws.push_back(
        DrawAugmentation({AugmentationFlavour::kDsa, {a}, align_corners},
                         stream, 0, 0, batch, shape));
  }
  for (const Augmentation a : {kCrop, kScale, kRotate}) {
    const AugmentationOptions options = {
        AugmentationFlavour::kIdc, {kFlip, kColor, a, kCutout}, align_corners};
    draws.push_back(DrawAugmentation(options, stream, 1, 0, batch, shape));
    draws.push_back(DrawSharedAugmentation(options, stream, 2, 0, 0, shape));
  }
  return draws;
}

TEST(Augmentation, PartOfABatchHasTheBitsItHasInTheWhole) {
  for (const ImageShape shape :
       {ImageShape{3, 32, 32}, ImageShape{1, 28, 28}}) {
    const at::Tensor images = Images(20, shape).to(at::kFloat);
    for (const AugmentationDraw& draw : DrawEverything(20, shape)) {
      const at::Tensor leaf = images.detach().clone().requires_grad_();
      const at::Tensor whole = ApplyAugmentation(leaf, draw);
      const at::Tensor gradient =
          torch::autograd::grad({whole.pow(2).sum()}, {leaf})[0];
      for (const std::vector<int64_t>& part :
           {std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10}, {19}}) {
        const auto count = static_cast<int64_t>(part.size());
        const at::Tensor chosen =
            images.narrow(0, part.front(), count).clone().requires_grad_();
        const at::Tensor augmented =
            ApplyAugmentation(chosen, draw.Select(part));
        EXPECT_TRUE(augmented.equal(whole.narrow(0, part.front(), count)))
            << draw.Key() << ", " << count << " images from " << part.front();
        EXPECT_TRUE(
            torch::autograd::grad({augmented.pow(2).sum()}, {chosen})[0].equal(
                gradient.narrow(0, part.front(), count)))
            << draw.Key();
      }
    }
  }
}

TEST(Augmentation, MemoryFormatIsWithoutEffect) {
  const ImageShape shape = {3, 9, 6};
  const at::Tensor images = Images(4, shape).to(at::kFloat);
  for (const AugmentationDraw& draw : DrawEverything(4, shape)) {
    const at::Tensor expected = ApplyAugmentation(images, draw);
    EXPECT_TRUE(expected.is_contiguous(at::MemoryFormat::ChannelsLast));
    for (const at::Tensor& same :
         {images.contiguous(at::MemoryFormat::ChannelsLast),
          images.permute({3, 2, 1, 0}).contiguous().permute({3, 2, 1, 0})}) {
      EXPECT_TRUE(ApplyAugmentation(same, draw).equal(expected)) << draw.Key();
    }
  }
}

class OneOperator : public ::testing::TestWithParam<bool> {};

TEST_P(OneOperator, IsTheChainOfItsOperationsWithItsGradient) {
  for (const ImageShape shape : {kShape, ImageShape{1, 9, 6},
                                 ImageShape{2, 8, 12}, ImageShape{1, 1, 5}}) {
    const at::Tensor images = Images(3, shape);
    const at::Tensor weights = TestTensor(images.sizes(), 0.8);
    for (const AugmentationDraw& draw : DrawEverything(3, shape, GetParam())) {
      const auto both = [&](const auto& apply, at::ScalarType type) {
        const at::Tensor leaf = images.to(type, false, true).requires_grad_();
        const at::Tensor augmented = apply(leaf, draw);
        return at::cat(
            {augmented.detach(),
             torch::autograd::grad({(augmented * weights.to(type)).sum()},
                                   {leaf})[0]});
      };
      const auto one = [](const at::Tensor& x, const AugmentationDraw& d) {
        return ApplyAugmentation(x, d);
      };
      const at::Tensor expected = both(&OperatorChain::Apply, at::kDouble);
      EXPECT_TRUE(both(one, at::kDouble).allclose(expected, 1e-11, 1e-11))
          << draw.Key() << " of " << images.sizes();
      EXPECT_TRUE(
          both(one, at::kFloat).to(at::kDouble).allclose(expected, 2e-5, 2e-5))
          << draw.Key() << " of " << images.sizes();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Corners, OneOperator, ::testing::Bool());

TEST(Augmentation, RefusesOperationsInAnotherOrder) {
  const at::Tensor images = Images(2);
  AugmentationDraw draw = DrawOne(kColor, 2);
  for (const std::vector<Augmentation>& operations :
       std::vector<std::vector<Augmentation>>{
           {kColor, kFlip}, {kCrop, kScale}, {kCutout, kCutout}}) {
    draw.operations = operations;
    EXPECT_THROW(ApplyAugmentation(images, draw), c10::Error);
  }
}

TEST(Augmentation, RefusesADrawOfAnotherNumberOfImages) {
  EXPECT_THROW(ApplyAugmentation(Images(3), DrawOne(kCrop, 2)), c10::Error);
}

TEST(Augmentation, PositionAloneDecidesAnImagesParameters) {
  const AugmentationDraw small = DrawOne(kColor, 4);
  const AugmentationDraw large = DrawOne(kColor, 40);
  EXPECT_TRUE(small.brightness.equal(large.brightness.narrow(0, 0, 4)));
  EXPECT_TRUE(small.shift_x.equal(large.shift_x.narrow(0, 0, 4)));
  EXPECT_FALSE(
      small.brightness.equal(DrawOne(kColor, 4, kShape, 1).brightness));
}

TEST(Augmentation, SharedDrawTreatsEveryImageAlike) {
  const at::Tensor image = Images(1);
  for (Augmentation operation : kEvery) {
    const AugmentationDraw draw =
        DrawSharedAugmentation({AugmentationFlavour::kDsa, {operation}},
                               RandomStream(6, "test"), 1, 2, 3, kShape);
    ASSERT_EQ(draw.size(), 1);
    const at::Tensor alone = ApplyAugmentation(image, draw);
    const at::Tensor many =
        ApplyAugmentation(image.expand({5, -1, -1, -1}), draw);
    ASSERT_EQ(many.size(0), 5);
    for (int64_t i = 0; i < 5; ++i) EXPECT_TRUE(many[i].equal(alone[0]));
    EXPECT_EQ(draw.Select({3, 4}).size(), 1);
  }
}

TEST(Augmentation, ParametersInOneTensorGiveTheBitsOfTheDraw) {
  const at::Tensor images = Images(6);
  for (auto flavour : {AugmentationFlavour::kDsa, AugmentationFlavour::kIdc}) {
    for (uint32_t a = 0; a < 12; ++a) {
      const RandomStream stream(5, "test");
      const AugmentationDraw own =
          DrawAugmentation({flavour, kEvery}, stream, a, 0, 6, kShape);
      EXPECT_TRUE(ApplyAugmentation(images, own, own.Parameters())
                      .equal(ApplyAugmentation(images, own)));
      // Of the images 2 .. 4 alone.
      EXPECT_TRUE(ApplyAugmentation(images.narrow(0, 2, 3), own,
                                    own.Parameters().narrow(1, 2, 3))
                      .equal(ApplyAugmentation(images, own).narrow(0, 2, 3)));
      const AugmentationDraw shared =
          DrawSharedAugmentation({flavour, kEvery}, stream, a, 0, 0, kShape);
      EXPECT_TRUE(ApplyAugmentation(images, shared, shared.Parameters())
                      .equal(ApplyAugmentation(images, shared)));
    }
  }
}

TEST(AugmentationPlan, KeyTellsOperationsTheirOrderAndCornersApart) {
  std::set<std::string> keys;
  for (bool corners : {false, true}) {
    for (const std::vector<Augmentation>& operations :
         std::vector<std::vector<Augmentation>>{
             {}, {kColor}, {kCrop}, {kColor, kCrop}, {kCrop, kColor}}) {
      keys.insert(AugmentationPlan{operations, corners}.Key());
    }
  }
  EXPECT_EQ(keys.size(), 10);
}

class AugmentationGradient : public ::testing::TestWithParam<Augmentation> {};

TEST_P(AugmentationGradient, MatchesFiniteDifferences) {
  const at::Tensor images = Images(5);
  const AugmentationDraw shared =
      DrawSharedAugmentation({AugmentationFlavour::kIdc, {GetParam()}},
                             RandomStream(6, "test"), 1, 2, 3, kShape);
  for (const AugmentationDraw& draw : {DrawOne(GetParam(), 5), shared}) {
    const auto cube = [&draw](const at::Tensor& x) {
      return ApplyAugmentation(x, draw).pow(3).sum();
    };
    EXPECT_LT(GradientError(cube, images), 1e-7);
    EXPECT_LT(GradientError(DirectionalDerivative(
                                [&](const at::Tensor& x, const at::Tensor& y) {
                                  return cube(x * y);
                                },
                                at::ones_like(images)),
                            images),
              1e-7);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryOperation, AugmentationGradient,
                         ::testing::ValuesIn(kEvery));

// The third derivative of f(x) = sum A(x)^4 at x along v, twice, is
// L^T (24 A(x) (L v)^2), where L is A without its constant.
TEST(Augmentation, HasAThirdDerivative) {
  const at::Tensor v = TestTensor({3, 3, 8, 8}, 0.3);
  for (const AugmentationDraw& draw : DrawEverything(3, kShape)) {
    const at::Tensor x = Images(3).requires_grad_();
    const at::Tensor augmented = ApplyAugmentation(x, draw);
    at::Tensor derivative =
        torch::autograd::grad({augmented.pow(4).sum()}, {x}, {}, true, true)[0];
    for (int again = 0; again < 2; ++again) {
      derivative = torch::autograd::grad({(derivative * v).sum()}, {x}, {},
                                         true, /*create_graph=*/true)[0];
    }
    const at::Tensor moved =
        ApplyAugmentation(x.detach() + v, draw) - augmented.detach();
    const at::Tensor expected = torch::autograd::grad(
        {augmented}, {x}, {24 * augmented.detach() * moved.pow(2)})[0];
    EXPECT_TRUE(derivative.allclose(expected, 1e-10, 1e-10)) << draw.Key();
  }
}

}  // namespace
}  // namespace dasm
