#include "worker/engine/task/image_grid.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

namespace dasm {
namespace {

constexpr int64_t kLine = 2;  // pixels between images
constexpr int64_t kWantedSide = 64;
constexpr int64_t kWidest = 8192;
constexpr int64_t kLargestSide = 65535;  // of a PNG that every viewer opens

int64_t Scale(int64_t columns, int64_t height, int64_t width) {
  const int64_t wanted = (kWantedSide + height - 1) / height;
  const int64_t fits = (kWidest / columns - kLine) / width;
  return std::max<int64_t>(1, std::min(wanted, fits));
}

}  // namespace

at::Tensor StretchForDisplay(const at::Tensor& pixels) {
  const at::Tensor wide = pixels.to(at::kDouble);
  const double mean = wide.mean().item<double>();
  const double reach = 2.5 * wide.std().item<double>();
  const at::Tensor clipped = wide.clamp(mean - reach, mean + reach);
  const at::Tensor low = clipped.amin({1, 2, 3}, /*keepdim=*/true);
  const at::Tensor range = clipped.amax({1, 2, 3}, /*keepdim=*/true) - low;
  // An image of one colour is black.
  return ((clipped - low) / range.clamp_min(1e-12)).to(at::kFloat);
}

ImageGrid DrawGrid(const SetData& set, int classes) {
  const at::Tensor images = set.images.contiguous();
  const at::Tensor labels = set.labels.contiguous();
  const int64_t count = images.size(0), channels = images.size(1);
  const int64_t height = images.size(2), width = images.size(3);
  std::vector<std::vector<int64_t>> rows(classes);
  for (int64_t i = 0; i < count; ++i) {
    rows[labels.data_ptr<int64_t>()[i]].push_back(i);
  }
  int64_t columns = 1;
  for (const auto& row : rows) {
    columns = std::max<int64_t>(columns, row.size());
  }
  const int64_t scale = Scale(columns, height, width);
  columns = std::min(columns, (kLargestSide - kLine) / (width * scale + kLine));
  const int64_t shown_classes = std::min<int64_t>(
      classes, (kLargestSide - kLine) / (height * scale + kLine));

  ImageGrid grid;
  grid.channels = channels == 3 ? 3 : 1;
  grid.width = columns * (width * scale + kLine) + kLine;
  grid.height = shown_classes * (height * scale + kLine) + kLine;
  grid.pixels.assign(grid.width * grid.height * grid.channels, 255);
  for (int64_t r = 0; r < shown_classes; ++r) {
    const int64_t shown = std::min<int64_t>(columns, rows[r].size());
    for (int64_t column = 0; column < shown; ++column) {
      const float* image = images.data_ptr<float>() +
                           rows[r][column] * channels * height * width;
      const int64_t top = kLine + r * (height * scale + kLine);
      const int64_t left = kLine + column * (width * scale + kLine);
      for (int64_t y = 0; y < height * scale; ++y) {
        for (int64_t x = 0; x < width * scale; ++x) {
          for (int64_t c = 0; c < grid.channels; ++c) {
            const float value =
                image[(c * height + y / scale) * width + x / scale];
            grid.pixels[((top + y) * grid.width + left + x) * grid.channels +
                        c] =
                static_cast<uint8_t>(
                    std::lround(std::clamp(value, 0.0f, 1.0f) * 255.0f));
          }
        }
      }
    }
  }
  return grid;
}

}  // namespace dasm
