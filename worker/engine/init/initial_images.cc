#include "worker/engine/init/initial_images.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "common/base/logging.h"
#include "common/base/random_stream.h"
#include "worker/engine/sampler/class_sampler.h"

namespace dasm {

std::vector<int64_t> DrawSources(const SourceDraw& draw,
                                 const std::vector<int64_t>& candidates,
                                 const std::vector<float>& weights,
                                 const absl::flat_hash_set<int64_t>& used) {
  DASM_CHECK(!candidates.empty());
  const RandomSequence random =
      RandomStream(draw.seed, "init.source").At(draw.label);
  const int64_t size = candidates.size();
  std::vector<int64_t> order = weights.empty()
                                   ? RandomSequence(random).Permutation(size)
                                   : WeightedDraw(random, weights, size);
  std::stable_partition(order.begin(), order.end(), [&](int64_t i) {
    return !used.contains(candidates[i]);
  });
  std::vector<int64_t> sources;
  for (int64_t i = 0; i < draw.count; ++i) {
    sources.push_back(candidates[order[i % size]]);
  }
  return sources;
}

at::Tensor PasteTiles(const at::Tensor& images, int factor) {
  if (factor == 1) return images;
  const int64_t tiles = int64_t{factor} * factor;
  const int64_t height = images.size(2);
  const int64_t width = images.size(3);
  const int64_t tile_height = (height + factor - 1) / factor;
  const int64_t tile_width = (width + factor - 1) / factor;
  const at::Tensor small =
      at::upsample_nearest2d(images, {tile_height, tile_width});
  at::Tensor stored =
      at::empty({images.size(0) / tiles, images.size(1), height, width},
                images.options());
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t top = tile / factor * tile_height;
    const int64_t left = tile % factor * tile_width;
    // A grid of ceil(side / f) may leave no room for its last tiles.
    const int64_t rows = std::min(tile_height, height - top);
    const int64_t columns = std::min(tile_width, width - left);
    if (rows <= 0 || columns <= 0) continue;
    stored.narrow(2, top, rows)
        .narrow(3, left, columns)
        .copy_(small.slice(0, tile, c10::nullopt, tiles)
                   .narrow(2, 0, rows)
                   .narrow(3, 0, columns));
  }
  return stored;
}

namespace {

// transform(N(0, 1)) of each pixel.
template <typename Transform>
at::Tensor FillNormal(uint64_t seed, uint32_t label, const NoiseShape& shape,
                      Transform transform) {
  const RandomStream stream(seed, "init.noise");
  at::Tensor images = at::empty(
      {shape.images, shape.channels, shape.height, shape.width}, at::kFloat);
  float* out = images.data_ptr<float>();
  for (int64_t i = 0; i < shape.images; ++i) {
    RandomSequence draws = stream.At(label, static_cast<uint32_t>(i));
    for (int64_t k = 0; k < shape.channels * shape.height * shape.width; ++k) {
      *out++ = static_cast<float>(transform(draws.Normal()));
    }
  }
  return images;
}

}  // namespace

at::Tensor NoiseImages(uint64_t seed, uint32_t label, const NoiseShape& shape) {
  return FillNormal(seed, label, shape, [](double normal) {
    return std::clamp(normal / 4.0 + 0.5, 0.0, 1.0);
  });
}

at::Tensor NormalImages(uint64_t seed, uint32_t label,
                        const NoiseShape& shape) {
  return FillNormal(seed, label, shape, [](double normal) { return normal; });
}

}  // namespace dasm
