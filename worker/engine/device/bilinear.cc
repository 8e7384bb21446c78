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

// From [-1, 1] to pixels.
at::Tensor ToPixels(const at::Tensor& coordinate, int64_t side,
                    bool align_corners) {
  return align_corners
             ? (coordinate + 1) * (0.5 * static_cast<double>(side - 1))
             : ((coordinate + 1) * static_cast<double>(side) - 1) * 0.5;
}

}  // namespace

at::Tensor ResizeBilinear(const at::Tensor& images, int64_t height,
                          int64_t width) {
  if (!images.is_cpu()) return ResizeByGathers(images, height, width);
  return at::upsample_bilinear2d(images, {height, width},
                                 /*align_corners=*/false);
}

at::Tensor SampleBilinear(const at::Tensor& images, const at::Tensor& grid,
                          bool align_corners) {
  if (!images.is_cpu()) return SampleByGathers(images, grid, align_corners);
  return at::grid_sampler(images, grid, /*interpolation_mode=*/0,
                          /*padding_mode=*/0, align_corners);
}

at::Tensor ResizeByGathers(const at::Tensor& images, int64_t height,
                           int64_t width) {
  return ResizeAxis(ResizeAxis(images, 2, height), 3, width);
}

at::Tensor SampleByGathers(const at::Tensor& images, const at::Tensor& grid,
                           bool align_corners) {
  const int64_t height = images.size(2);
  const int64_t width = images.size(3);
  const at::Tensor x = ToPixels(grid.select(3, 0), width, align_corners);
  const at::Tensor y = ToPixels(grid.select(3, 1), height, align_corners);
  const at::Tensor left = x.floor();
  const at::Tensor top = y.floor();
  const at::Tensor pixels = images.flatten(2);
  at::Tensor sum;
  for (int dy : {0, 1}) {
    for (int dx : {0, 1}) {
      const at::Tensor column = left + dx;
      const at::Tensor row = top + dy;
      const at::Tensor inside = (column >= 0)
                                    .logical_and(column < width)
                                    .logical_and(row >= 0)
                                    .logical_and(row < height);
      const at::Tensor weight = (1 - (x - column).abs()) *
                                (1 - (y - row).abs()) *
                                inside.to(images.scalar_type());
      const at::Tensor index = row.clamp(0, height - 1).to(at::kLong) * width +
                               column.clamp(0, width - 1).to(at::kLong);
      const at::Tensor corner =
          pixels.gather(2, index.flatten(1).unsqueeze(1).expand(
                               {-1, images.size(1), -1})) *
          weight.flatten(1).unsqueeze(1);
      sum = sum.defined() ? sum + corner : corner;
    }
  }
  return sum.view({images.size(0), images.size(1), grid.size(1), grid.size(2)});
}

}  // namespace dasm
