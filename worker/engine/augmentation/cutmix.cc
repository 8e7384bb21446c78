#include "worker/engine/augmentation/cutmix.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace dasm {

CutMixDraw DrawCutMix(double probability, const RandomStream& stream,
                      uint32_t a, uint32_t b, int64_t batch, ImageShape shape) {
  CutMixDraw draw;
  RandomSequence draws = stream.At(a, b);
  draw.active = draws.Uniform() < probability;
  if (!draw.active) return draw;
  const double side = std::sqrt(1.0 - draws.Uniform());
  const auto edge = [&](int extent, int* begin, int* end) {
    const int half = static_cast<int>(extent * side) / 2;
    const int centre = static_cast<int>(draws.Below(extent));
    *begin = std::max(centre - half, 0);
    *end = std::min(centre + half, extent);
  };
  edge(shape.height, &draw.top, &draw.bottom);
  edge(shape.width, &draw.left, &draw.right);
  const double area =
      static_cast<double>(draw.bottom - draw.top) * (draw.right - draw.left);
  draw.own_weight = 1.0 - area / (shape.height * shape.width);
  draw.partner = draws.Permutation(batch);
  return draw;
}

at::Tensor CutMixDraw::Box(ImageShape shape) const {
  const at::Tensor box =
      at::zeros({1, 1, shape.height, shape.width}, at::kBool);
  box.narrow(2, top, bottom - top).narrow(3, left, right - left).fill_(true);
  return box;
}

at::Tensor CutMixDraw::Weights() const {
  return at::tensor(
      {static_cast<float>(own_weight), static_cast<float>(1 - own_weight)},
      at::kFloat);
}

at::Tensor ApplyCutMix(const at::Tensor& images, const at::Tensor& partners,
                       const at::Tensor& box) {
  return at::where(box, partners, images).contiguous();
}

}  // namespace dasm
