#include "worker/engine/augmentation/augmentation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/engine/device/bilinear.h"

namespace dasm {
namespace {

constexpr double kCropRatio = 0.125;
constexpr double kCutoutRatio = 0.5;
constexpr double kScaleRatio = 1.2;
constexpr double kRotateDegrees = 15;

int RoundedShare(double ratio, int side) {
  return static_cast<int>(ratio * side + 0.5);
}

bool Has(const std::vector<Augmentation>& operations, Augmentation operation) {
  return std::find(operations.begin(), operations.end(), operation) !=
         operations.end();
}

// The operations of one call, in the order of application.
std::vector<Augmentation> DrawOperations(const AugmentationOptions& options,
                                         RandomSequence draws) {
  using enum Augmentation;
  std::vector<Augmentation> candidates;
  switch (options.flavour) {
    case AugmentationFlavour::kDsa:
      for (Augmentation a : {kColor, kCrop, kCutout, kFlip, kScale, kRotate}) {
        if (Has(options.operations, a)) candidates.push_back(a);
      }
      if (candidates.empty()) return {};
      return {candidates[draws.Below(candidates.size())]};
    case AugmentationFlavour::kIdc: {
      std::vector<Augmentation> operations;
      for (Augmentation a : {kFlip, kColor}) {
        if (Has(options.operations, a)) operations.push_back(a);
      }
      for (Augmentation a : {kCrop, kScale, kRotate}) {
        if (Has(options.operations, a)) candidates.push_back(a);
      }
      if (!candidates.empty()) {
        operations.push_back(candidates[draws.Below(candidates.size())]);
      }
      if (Has(options.operations, kCutout)) operations.push_back(kCutout);
      return operations;
    }
  }
  return {};
}

AugmentationDraw EmptyDraw(const AugmentationOptions& options, int64_t size) {
  AugmentationDraw draw;
  draw.align_corners = options.align_corners;
  for (at::Tensor* tensor : {&draw.flip, &draw.shift_y, &draw.shift_x,
                             &draw.cutout_y, &draw.cutout_x}) {
    *tensor = at::empty({size}, at::kLong);
  }
  for (at::Tensor* tensor : {&draw.brightness, &draw.saturation, &draw.contrast,
                             &draw.scale_y, &draw.scale_x, &draw.angle}) {
    *tensor = at::empty({size}, at::kDouble);
  }
  return draw;
}

// All parameters of one image, whether its operations need them or not, so that
// no parameter depends on the list of operations.
void DrawImage(RandomSequence draws, ImageShape shape, int64_t i,
               AugmentationDraw* draw) {
  const auto real = [i](at::Tensor& tensor, double value) {
    tensor.mutable_data_ptr<double>()[i] = value;
  };
  const auto integer = [i](at::Tensor& tensor, int64_t value) {
    tensor.mutable_data_ptr<int64_t>()[i] = value;
  };
  const auto shift = [&draws](int side) {
    const int limit = RoundedShare(kCropRatio, side);
    return static_cast<int64_t>(draws.Below(2 * limit + 1)) - limit;
  };
  const auto centre = [&draws](int side) {
    const int square = RoundedShare(kCutoutRatio, side);
    return static_cast<int64_t>(draws.Below(side + 1 - square % 2));
  };
  constexpr double kRadians = kRotateDegrees * M_PI / 180;
  integer(draw->flip, draws.Uniform() < 0.5);
  real(draw->brightness, draws.Uniform(-0.5, 0.5));
  real(draw->saturation, draws.Uniform(0, 2));
  real(draw->contrast, draws.Uniform(0.5, 1.5));
  integer(draw->shift_y, shift(shape.height));
  integer(draw->shift_x, shift(shape.width));
  integer(draw->cutout_y, centre(shape.height));
  integer(draw->cutout_x, centre(shape.width));
  real(draw->scale_y, draws.Uniform(1 / kScaleRatio, kScaleRatio));
  real(draw->scale_x, draws.Uniform(1 / kScaleRatio, kScaleRatio));
  real(draw->angle, draws.Uniform(-kRadians, kRadians));
}

// [n] to [n, 1, 1, 1] on the device of `images`; floating values in its dtype.
at::Tensor PerImage(const at::Tensor& parameter, const at::Tensor& images) {
  const at::ScalarType dtype = parameter.is_floating_point()
                                   ? images.scalar_type()
                                   : parameter.scalar_type();
  return parameter.to(images.device(), dtype).view({-1, 1, 1, 1});
}

at::Tensor Range(int64_t size, const at::Tensor& images) {
  return at::arange(size, images.options().dtype(at::kLong));
}

at::Tensor Flip(const at::Tensor& images, const AugmentationDraw& draw) {
  return at::where(PerImage(draw.flip, images) == 1, images.flip({3}), images);
}

at::Tensor Color(const at::Tensor& images, const AugmentationDraw& draw) {
  at::Tensor x = images + PerImage(draw.brightness, images);
  at::Tensor mean = x.mean(1, /*keepdim=*/true);
  x = (x - mean) * PerImage(draw.saturation, images) + mean;
  mean = x.mean({1, 2, 3}, /*keepdim=*/true);
  return (x - mean) * PerImage(draw.contrast, images) + mean;
}

at::Tensor Crop(const at::Tensor& images, const AugmentationDraw& draw) {
  const int64_t height = images.size(2);
  const int64_t width = images.size(3);
  const int64_t margin_y = RoundedShare(kCropRatio, height);
  const int64_t margin_x = RoundedShare(kCropRatio, width);
  const at::Tensor padded =
      at::constant_pad_nd(images, {margin_x, margin_x, margin_y, margin_y}, 0);
  if (draw.size() == 1 && draw.shift_y.is_cpu()) {
    return padded
        .narrow(2, margin_y + draw.shift_y.const_data_ptr<int64_t>()[0], height)
        .narrow(3, margin_x + draw.shift_x.const_data_ptr<int64_t>()[0], width);
  }
  if (draw.size() == 1) {
    return padded
        .index_select(2, draw.shift_y + margin_y + Range(height, images))
        .index_select(3, draw.shift_x + margin_x + Range(width, images));
  }
  const at::Tensor rows = PerImage(draw.shift_y + margin_y, images) +
                          Range(height, images).view({1, 1, -1, 1});
  const at::Tensor columns = PerImage(draw.shift_x + margin_x, images) +
                             Range(width, images).view({1, 1, 1, -1});
  const at::Tensor index = (rows * padded.size(3) + columns)
                               .flatten(2)
                               .expand({-1, images.size(1), -1});
  return padded.flatten(2).gather(2, index).view(images.sizes());
}

at::Tensor Cutout(const at::Tensor& images, const AugmentationDraw& draw) {
  const auto outside = [&](const at::Tensor& centre, int64_t side) {
    const int64_t square = RoundedShare(kCutoutRatio, side);
    const at::Tensor offset =
        Range(side, images).view({1, -1}) -
        (centre.to(images.device()) - square / 2).view({-1, 1});
    return (offset < 0).logical_or(offset >= square);
  };
  const at::Tensor rows = outside(draw.cutout_y, images.size(2));
  const at::Tensor columns = outside(draw.cutout_x, images.size(3));
  const at::Tensor mask =
      rows.unsqueeze(2).logical_or(columns.unsqueeze(1)).unsqueeze(1);
  return images * mask.to(images.scalar_type());
}

// Samples at the coordinates (x, y) = ([xx, xy; yx, yy] (u, v)) of the unit
// picture [-1, 1]^2; coefficients [n, 1, 1, 1].
at::Tensor SampleAffine(const at::Tensor& images, const at::Tensor& xx,
                        const at::Tensor& xy, const at::Tensor& yx,
                        const at::Tensor& yy, bool align_corners) {
  const auto axis = [&](int64_t side) {
    const double end = align_corners || side == 1 ? 1.0 : 1.0 - 1.0 / side;
    return side == 1 ? at::zeros({1}, images.options())
                     : at::linspace(-end, end, side, images.options());
  };
  const at::Tensor u = axis(images.size(3)).view({1, 1, -1});
  const at::Tensor v = axis(images.size(2)).view({1, -1, 1});
  const at::Tensor x = xx.squeeze(1) * u + xy.squeeze(1) * v;
  const at::Tensor y = yx.squeeze(1) * u + yy.squeeze(1) * v;
  const at::Tensor grid = at::stack(at::broadcast_tensors({x, y}), 3)
                              .expand({images.size(0), -1, -1, -1});
  return SampleBilinear(images, grid, align_corners);
}

at::Tensor Scale(const at::Tensor& images, const AugmentationDraw& draw) {
  const at::Tensor xx = PerImage(draw.scale_x, images);
  const at::Tensor yy = PerImage(draw.scale_y, images);
  const at::Tensor zero = at::zeros_like(xx);
  return SampleAffine(images, xx, zero, zero, yy, draw.align_corners);
}

at::Tensor Rotate(const at::Tensor& images, const AugmentationDraw& draw) {
  const at::Tensor cosine = PerImage(draw.angle.cos(), images);
  const at::Tensor sine = PerImage(draw.angle.sin(), images);
  return SampleAffine(images, cosine, -sine, sine, cosine, draw.align_corners);
}

at::Tensor ApplyOne(Augmentation operation, const at::Tensor& images,
                    const AugmentationDraw& draw) {
  switch (operation) {
    case Augmentation::kColor:
      return Color(images, draw);
    case Augmentation::kCrop:
      return Crop(images, draw);
    case Augmentation::kCutout:
      return Cutout(images, draw);
    case Augmentation::kFlip:
      return Flip(images, draw);
    case Augmentation::kScale:
      return Scale(images, draw);
    case Augmentation::kRotate:
      return Rotate(images, draw);
  }
  return images;
}

// Tensors of a draw, in the order of the rows of Parameters().
template <typename Draw>
auto TensorsOf(Draw& draw) {
  return std::array{&draw.flip,     &draw.brightness, &draw.saturation,
                    &draw.contrast, &draw.shift_y,    &draw.shift_x,
                    &draw.cutout_y, &draw.cutout_x,   &draw.scale_y,
                    &draw.scale_x,  &draw.angle};
}

}  // namespace

std::string AugmentationPlan::Key() const {
  return absl::StrCat(absl::StrJoin(operations, ",",
                                    [](std::string* out, Augmentation a) {
                                      absl::StrAppend(out, static_cast<int>(a));
                                    }),
                      align_corners ? "c" : "");
}

at::Tensor AugmentationDraw::Parameters() const {
  std::vector<at::Tensor> rows;
  for (const at::Tensor* tensor : TensorsOf(*this)) {
    rows.push_back(tensor->to(at::kDouble));
  }
  return at::stack(rows);
}

AugmentationDraw AugmentationDraw::Select(
    absl::Span<const int64_t> positions) const {
  if (size() == 1) return *this;
  const at::Tensor index =
      at::empty({static_cast<int64_t>(positions.size())}, at::kLong);
  std::copy(positions.begin(), positions.end(),
            index.mutable_data_ptr<int64_t>());
  AugmentationDraw selected = *this;
  for (at::Tensor* tensor : TensorsOf(selected)) {
    *tensor = tensor->index_select(0, index);
  }
  return selected;
}

AugmentationDraw DrawAugmentation(const AugmentationOptions& options,
                                  const RandomStream& stream, uint32_t a,
                                  uint32_t b, int64_t batch, ImageShape shape) {
  AugmentationDraw draw = EmptyDraw(options, batch);
  draw.operations = DrawOperations(options, stream.At(a, b, 0));
  for (int64_t i = 0; i < batch; ++i) {
    DrawImage(stream.At(a, b, static_cast<uint32_t>(1 + i)), shape, i, &draw);
  }
  return draw;
}

AugmentationDraw DrawSharedAugmentation(const AugmentationOptions& options,
                                        const RandomStream& stream, uint32_t a,
                                        uint32_t b, uint32_t c,
                                        ImageShape shape) {
  AugmentationDraw draw = EmptyDraw(options, 1);
  RandomSequence draws = stream.At(a, b, c);
  draw.operations = DrawOperations(options, draws);
  draws.Next();
  DrawImage(draws, shape, 0, &draw);
  return draw;
}

at::Tensor ApplyAugmentation(const at::Tensor& images,
                             const AugmentationDraw& draw) {
  at::Tensor augmented = images;
  for (Augmentation operation : draw.operations) {
    augmented = ApplyOne(operation, augmented, draw);
  }
  return augmented;
}

at::Tensor ApplyAugmentation(const at::Tensor& images,
                             const AugmentationPlan& plan,
                             const at::Tensor& parameters) {
  if (plan.operations.empty()) return images;
  AugmentationDraw draw;
  static_cast<AugmentationPlan&>(draw) = plan;
  int64_t row = 0;
  for (at::Tensor* tensor : TensorsOf(draw)) {
    *tensor = parameters.select(0, row++);
  }
  for (at::Tensor* tensor : {&draw.flip, &draw.shift_y, &draw.shift_x,
                             &draw.cutout_y, &draw.cutout_x}) {
    *tensor = tensor->to(at::kLong);
  }
  // Aligned as in a draw: the bits of a cosine may depend on that.
  draw.angle = draw.angle.clone();
  return ApplyAugmentation(images, draw);
}

}  // namespace dasm
