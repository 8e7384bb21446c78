#include "worker/engine/device/bilinear.h"

#include <ATen/ATen.h>

#include <vector>

namespace dasm {
namespace {

// To `size` along `dimension`, where the two neighbours are mixed.
at::Tensor ResizeAxis(const at::Tensor& images, int64_t dimension,
                      int64_t size) {
  const int64_t from = images.size(dimension);
  const double scale = static_cast<double>(from) / static_cast<double>(size);
  const at::Tensor at =
      ((at::arange(size, images.options()) + 0.5) * scale - 0.5).clamp_min(0);
  const at::Tensor low = at.floor();
  const at::Tensor first = low.to(at::kLong).clamp_max(from - 1);
  const at::Tensor second = (first + 1).clamp_max(from - 1);
  std::vector<int64_t> along(images.dim(), 1);
  along[dimension] = size;
  const at::Tensor weight = (at - low).view(along);
  return images.index_select(dimension, first) * (1 - weight) +
         images.index_select(dimension, second) * weight;
}

}  // namespace

at::Tensor ResizeBilinear(const at::Tensor& images, int64_t height,
                          int64_t width) {
  if (!images.is_cpu()) return ResizeByGathers(images, height, width);
  return at::upsample_bilinear2d(images, {height, width},
                                 /*align_corners=*/false);
}

at::Tensor ResizeByGathers(const at::Tensor& images, int64_t height,
                           int64_t width) {
  return ResizeAxis(ResizeAxis(images, 2, height), 3, width);
}

}  // namespace dasm
