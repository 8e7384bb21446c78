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

at::Tensor ApplyCutMix(const at::Tensor& images, const at::Tensor& partners,
                       const CutMixDraw& draw) {
  if (!draw.active) return images;
  const auto box = [&draw](const at::Tensor& tensor) {
    return tensor.narrow(2, draw.top, draw.bottom - draw.top)
        .narrow(3, draw.left, draw.right - draw.left);
  };
  at::Tensor mixed = images.clone(at::MemoryFormat::Contiguous);
  box(mixed).copy_(box(partners));
  return mixed;
}

}  // namespace dasm
