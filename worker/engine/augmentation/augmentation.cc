#include "worker/engine/augmentation/augmentation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/engine/augmentation/augment_images.h"
#include "worker/engine/augmentation/augmentation_pixels.h"

namespace dasm {
namespace {

constexpr double kCropRatio = 0.125;
constexpr double kScaleRatio = 1.2;
constexpr double kRotateDegrees = 15;

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

// The bit of an operation and its place in a plan.
struct Stage {
  AugmentationBit bit;
  int place;
};

Stage StageOf(Augmentation operation) {
  switch (operation) {
    case Augmentation::kFlip:
      return {kFlipBit, 0};
    case Augmentation::kColor:
      return {kColorBit, 1};
    case Augmentation::kCrop:
      return {kCropBit, 2};
    case Augmentation::kScale:
      return {kScaleBit, 2};
    case Augmentation::kRotate:
      return {kRotateBit, 2};
    case Augmentation::kCutout:
      return {kCutoutBit, 3};
  }
  return {};
}

int64_t BitsOf(const AugmentationPlan& plan) {
  int64_t bits = 0;
  if (plan.align_corners) bits |= kAlignedBit;
  int place = -1;
  for (const Augmentation operation : plan.operations) {
    const Stage stage = StageOf(operation);
    TORCH_CHECK(stage.place > place,
                "an augmentation is flip, color, one of crop, scale and "
                "rotate, cutout, in this order; a plan of another is ",
                plan.Key());
    place = stage.place;
    bits |= stage.bit;
  }
  return bits;
}

// Tensors of a draw, in the order of AugmentationRow.
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
  if (draw.operations.empty()) return images;
  return ApplyAugmentation(images, draw, draw.Parameters().to(images.device()));
}

at::Tensor ApplyAugmentation(const at::Tensor& images,
                             const AugmentationPlan& plan,
                             const at::Tensor& parameters) {
  if (plan.operations.empty()) return images;
  return AugmentImages(images, parameters, BitsOf(plan));
}

}  // namespace dasm
