// For tests: augmentation as its definition reads, one operator of torch after
// the other.
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_OPERATOR_CHAIN_FOR_TESTS_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_OPERATOR_CHAIN_FOR_TESTS_H_

#include <ATen/ATen.h>

#include "worker/engine/augmentation/augmentation.h"

namespace dasm {

// As ApplyAugmentation, on the host: scale and rotate may be differentiated
// once.
class OperatorChain {
 public:
  static at::Tensor Apply(const at::Tensor& images,
                          const AugmentationDraw& draw) {
    at::Tensor augmented = images;
    for (const Augmentation operation : draw.operations) {
      augmented = ApplyOne(operation, augmented, draw);
    }
    return augmented;
  }

 private:
  static at::Tensor ApplyOne(Augmentation operation, const at::Tensor& images,
                             const AugmentationDraw& draw) {
    switch (operation) {
      case Augmentation::kFlip:
        return at::where(PerImage(draw.flip, images) == 1, images.flip({3}),
                         images);
      case Augmentation::kColor:
        return Color(images, draw);
      case Augmentation::kCrop:
        return Crop(images, draw);
      case Augmentation::kCutout:
        return Cutout(images, draw);
      case Augmentation::kScale: {
        const at::Tensor xx = PerImage(draw.scale_x, images);
        const at::Tensor zero = at::zeros_like(xx);
        return SampleAffine(images, xx, zero, zero,
                            PerImage(draw.scale_y, images), draw.align_corners);
      }
      case Augmentation::kRotate: {
        const at::Tensor cosine = PerImage(draw.angle.cos(), images);
        const at::Tensor sine = PerImage(draw.angle.sin(), images);
        return SampleAffine(images, cosine, -sine, sine, cosine,
                            draw.align_corners);
      }
    }
    return images;
  }

  static int64_t RoundedShare(double ratio, int64_t side) {
    return static_cast<int64_t>(ratio * static_cast<double>(side) + 0.5);
  }

  // [n] to [n, 1, 1, 1]; floating values in the images' dtype.
  static at::Tensor PerImage(const at::Tensor& parameter,
                             const at::Tensor& images) {
    return parameter
        .to(parameter.is_floating_point() ? images.scalar_type()
                                          : parameter.scalar_type())
        .view({-1, 1, 1, 1});
  }

  static at::Tensor Range(int64_t size) { return at::arange(size, at::kLong); }

  static at::Tensor Color(const at::Tensor& images,
                          const AugmentationDraw& draw) {
    at::Tensor x = images + PerImage(draw.brightness, images);
    at::Tensor mean = x.mean(1, /*keepdim=*/true);
    x = (x - mean) * PerImage(draw.saturation, images) + mean;
    mean = x.mean({1, 2, 3}, /*keepdim=*/true);
    return (x - mean) * PerImage(draw.contrast, images) + mean;
  }

  static at::Tensor Crop(const at::Tensor& images,
                         const AugmentationDraw& draw) {
    const int64_t height = images.size(2);
    const int64_t width = images.size(3);
    const int64_t margin_y = RoundedShare(0.125, height);
    const int64_t margin_x = RoundedShare(0.125, width);
    const at::Tensor padded = at::constant_pad_nd(
        images, {margin_x, margin_x, margin_y, margin_y}, 0);
    if (draw.size() == 1) {
      return padded
          .narrow(2, margin_y + draw.shift_y.const_data_ptr<int64_t>()[0],
                  height)
          .narrow(3, margin_x + draw.shift_x.const_data_ptr<int64_t>()[0],
                  width);
    }
    const at::Tensor rows = PerImage(draw.shift_y + margin_y, images) +
                            Range(height).view({1, 1, -1, 1});
    const at::Tensor columns = PerImage(draw.shift_x + margin_x, images) +
                               Range(width).view({1, 1, 1, -1});
    const at::Tensor index = (rows * padded.size(3) + columns)
                                 .flatten(2)
                                 .expand({-1, images.size(1), -1});
    return padded.flatten(2).gather(2, index).view(images.sizes());
  }

  static at::Tensor Cutout(const at::Tensor& images,
                           const AugmentationDraw& draw) {
    const auto outside = [](const at::Tensor& centre, int64_t side) {
      const int64_t square = RoundedShare(0.5, side);
      const at::Tensor offset =
          Range(side).view({1, -1}) - (centre - square / 2).view({-1, 1});
      return (offset < 0).logical_or(offset >= square);
    };
    const at::Tensor rows = outside(draw.cutout_y, images.size(2));
    const at::Tensor columns = outside(draw.cutout_x, images.size(3));
    return images * rows.unsqueeze(2)
                        .logical_or(columns.unsqueeze(1))
                        .unsqueeze(1)
                        .to(images.scalar_type());
  }

  // Samples at the coordinates (x, y) = ([xx, xy; yx, yy] (u, v)) of the unit
  // picture [-1, 1]^2; coefficients [n, 1, 1, 1].
  static at::Tensor SampleAffine(const at::Tensor& images, const at::Tensor& xx,
                                 const at::Tensor& xy, const at::Tensor& yx,
                                 const at::Tensor& yy, bool align_corners) {
    const auto axis = [&](int64_t side) {
      const double end = align_corners || side == 1
                             ? 1.0
                             : 1.0 - 1.0 / static_cast<double>(side);
      return side == 1 ? at::zeros({1}, images.options())
                       : at::linspace(-end, end, side, images.options());
    };
    const at::Tensor u = axis(images.size(3)).view({1, 1, -1});
    const at::Tensor v = axis(images.size(2)).view({1, -1, 1});
    const at::Tensor x = xx.squeeze(1) * u + xy.squeeze(1) * v;
    const at::Tensor y = yx.squeeze(1) * u + yy.squeeze(1) * v;
    const at::Tensor grid = at::stack(at::broadcast_tensors({x, y}), 3)
                                .expand({images.size(0), -1, -1, -1});
    return at::grid_sampler(images, grid, /*interpolation_mode=*/0,
                            /*padding_mode=*/0, align_corners);
  }
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_OPERATOR_CHAIN_FOR_TESTS_H_
