// The device's arithmetic, run on the host against the host's kernels.
#include "worker/cuda/augmentation_image.h"

#include <ATen/ATen.h>

#include <vector>

#include "gtest/gtest.h"
#include "worker/cuda/norm_relu_pool_plane.h"
#include "worker/engine/augmentation/augment_call.h"
#include "worker/engine/augmentation/augmentation_kernel.h"

namespace dasm {
namespace {

constexpr int kImages = 4;

// One column an image, of every range and beyond the picture's ends.
at::Tensor Parameters() {
  at::manual_seed(3);
  const at::Tensor rows =
      at::rand({kAugmentationRows, kImages}, at::kDouble) - 0.5;
  rows[kFlipRow] = at::tensor({1.0, 0.0, 1.0, 0.0}, at::kDouble);
  rows[kSaturationRow] += 1;
  rows[kContrastRow] += 1;
  rows[kShiftYRow] = at::tensor({2.0, -2.0, 0.0, 9.0}, at::kDouble);
  rows[kShiftXRow] = at::tensor({-1.0, 1.0, 2.0, 0.0}, at::kDouble);
  rows[kCutoutYRow] = at::tensor({0.0, 3.0, 5.0, 7.0}, at::kDouble);
  rows[kCutoutXRow] = at::tensor({6.0, 0.0, 2.0, 1.0}, at::kDouble);
  rows[kScaleYRow] = at::tensor({0.84, 1.19, 1.0, 0.9}, at::kDouble);
  rows[kScaleXRow] = at::tensor({1.1, 0.85, 1.0, 1.2}, at::kDouble);
  return rows;
}

// As a device calls them, and what it must give.
void ExpectTheHostsValues(int64_t plan, at::IntArrayRef sizes) {
  const at::Tensor in = at::randn(sizes, at::kDouble);
  for (const int64_t columns : {1, kImages}) {
    const at::Tensor parameters = Parameters().narrow(1, 0, columns);
    for (const bool adjoint : {false, true}) {
      const at::Tensor expected = at::full_like(in, -77);
      const at::Tensor actual = EmptyAugmented(in).fill_(-77);
      const auto host = AugmentCallOf<double>(in, parameters, plan, expected);
      const auto call = AugmentCallOf<double>(in, parameters, plan, actual);
      adjoint ? AugmentAdjoint(host) : Augment(host);
      for (int i = 0; i < kImages; ++i) {
        const TeamOfOne team;
        if (call.Samples()) {
          adjoint ? AugmentGradient<2>(call, team, i)
                  : AugmentImage<2>(call, team, i);
        } else {
          adjoint ? AugmentGradient<1>(call, team, i)
                  : AugmentImage<1>(call, team, i);
        }
      }
      EXPECT_TRUE(actual.allclose(expected, 1e-12, 1e-12))
          << "plan " << plan << ", adjoint " << adjoint << ", " << sizes;
      // The mean of color alone is added in another order.
      if (!call.Has(kColorBit)) {
        EXPECT_TRUE(actual.equal(expected)) << plan;
      }
    }
  }
}

TEST(AugmentationImage, HasTheHostsValuesInEveryPlan) {
  at::manual_seed(5);
  for (const int64_t geometry : {0, 4, 8, 16}) {
    for (const int64_t rest :
         {int64_t{0}, int64_t{kFlipBit}, int64_t{kColorBit},
          int64_t{kCutoutBit}, int64_t{kFlipBit | kColorBit | kCutoutBit},
          int64_t{kColorBit | kLinearBit}}) {
      for (const int64_t corners : {0, 64}) {
        ExpectTheHostsValues(geometry | rest | corners, {kImages, 3, 7, 9});
      }
    }
  }
}

TEST(AugmentationImage, OfOnePixelASideToo) {
  at::manual_seed(6);
  for (const int64_t geometry : {kCropBit, kScaleBit, kRotateBit}) {
    for (const int64_t corners : {0, 64}) {
      const int64_t plan = geometry | corners | kColorBit;
      ExpectTheHostsValues(plan, {kImages, 1, 1, 6});
      ExpectTheHostsValues(plan, {kImages, 2, 5, 1});
      ExpectTheHostsValues(plan, {kImages, 1, 1, 1});
    }
  }
}

}  // namespace
}  // namespace dasm
