// Augmentation on a device against the host's: values and both derivatives.
#include "worker/engine/augmentation/augmentation.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "gtest/gtest.h"
#include "tests/gpu/gpu_fixture.h"

namespace dasm {
namespace {

using enum Augmentation;

const at::Device kGpu(at::kCUDA, 0);

// Of every operation, alone and in the order of IDC; of one draw for all images
// and of one each.
std::vector<AugmentationDraw> Draws(int64_t batch, ImageShape shape,
                                    bool align_corners) {
  std::vector<AugmentationOptions> options;
  for (const Augmentation a :
       {kFlip, kColor, kCrop, kScale, kRotate, kCutout}) {
    options.push_back({AugmentationFlavour::kDsa, {a}, align_corners});
  }
  for (const Augmentation a : {kCrop, kScale, kRotate}) {
    options.push_back({AugmentationFlavour::kIdc,
                       {kFlip, kColor, a, kCutout},
                       align_corners});
  }
  const RandomStream stream(1, "test");
  std::vector<AugmentationDraw> draws;
  for (const AugmentationOptions& one : options) {
    draws.push_back(DrawSharedAugmentation(one, stream, 1, 2, 3, shape));
    draws.push_back(DrawAugmentation(one, stream, 1, 2, batch, shape));
  }
  return draws;
}

// The augmented images, a gradient, and the derivative of that gradient.
std::vector<at::Tensor> Results(const at::Tensor& images,
                                const AugmentationDraw& draw) {
  const at::Tensor leaf = images.detach().requires_grad_();
  const at::Tensor augmented =
      ApplyAugmentation(leaf, draw, draw.Parameters().to(images.device()));
  const at::Tensor gradient = torch::autograd::grad({augmented.pow(3).sum()},
                                                    {leaf}, {}, true, true)[0];
  const at::Tensor second =
      torch::autograd::grad({gradient.pow(2).sum()}, {leaf})[0];
  return {augmented.detach(), gradient.detach(), second};
}

TEST(AugmentationOnDevice, AgreesWithTheHostToTheSecondDerivative) {
  Gpu();
  at::manual_seed(4);
  for (const ImageShape shape :
       {ImageShape{3, 16, 16}, ImageShape{1, 28, 20}}) {
    const at::Tensor images =
        at::randn({5, shape.channels, shape.height, shape.width}, at::kDouble);
    for (const bool align_corners : {false, true}) {
      for (const AugmentationDraw& draw : Draws(5, shape, align_corners)) {
        const std::vector<at::Tensor> host = Results(images, draw);
        const std::vector<at::Tensor> device = Results(images.to(kGpu), draw);
        const at::Tensor single = images.to(kGpu, at::kFloat);
        const std::vector<at::Tensor> floats = Results(single, draw);
        const std::vector<at::Tensor> again = Results(single, draw);
        for (size_t i = 0; i < host.size(); ++i) {
          const double scale = host[i].abs().max().item<double>();
          EXPECT_TRUE(
              at::allclose(device[i].cpu(), host[i], 1e-9, 1e-9 * scale))
              << draw.Key() << ", result " << i;
          EXPECT_TRUE(at::allclose(floats[i].cpu().to(at::kDouble), host[i],
                                   1e-4, 1e-4 * scale))
              << draw.Key() << ", result " << i;
          EXPECT_TRUE(floats[i].equal(again[i]))
              << draw.Key() << ", result " << i;
        }
      }
    }
  }
}

TEST(AugmentationOnDevice, PartOfABatchHasTheBitsItHasInTheWhole) {
  Gpu();
  at::manual_seed(4);
  const at::Tensor images = at::randn({7, 3, 16, 16}).to(kGpu);
  for (const AugmentationDraw& draw : Draws(7, {3, 16, 16}, false)) {
    const std::vector<at::Tensor> whole = Results(images, draw);
    const std::vector<at::Tensor> part =
        Results(images.narrow(0, 4, 2), draw.Select({4, 5}));
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_TRUE(part[i].equal(whole[i].narrow(0, 4, 2)))
          << draw.Key() << ", result " << i;
    }
  }
}

TEST(AugmentationOnDevice, ADrawOnTheHostIsRefused) {
  Gpu();
  const AugmentationDraw draw = Draws(2, {3, 16, 16}, false)[0];
  EXPECT_THROW(ApplyAugmentation(at::randn({2, 3, 16, 16}).to(kGpu), draw,
                                 draw.Parameters()),
               c10::Error);
}

}  // namespace
}  // namespace dasm
