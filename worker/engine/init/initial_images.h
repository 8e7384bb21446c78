// Where a segment's stored images start: tiles of real images (IDC's `mix`), or
// noise. Tiles are drawn at random, unlike IDC's code, which takes the first
// images of the class in every run.
//
// Determinism: pure functions of their arguments; a segment has its own seed.
#ifndef DASM_WORKER_ENGINE_INIT_INITIAL_IMAGES_H_
#define DASM_WORKER_ENGINE_INIT_INITIAL_IMAGES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace dasm {

struct SourceDraw {
  uint64_t seed = 0;
  uint32_t label = 0;
  int64_t count = 0;  // images_per_class * factor^2
};

// `draw.count` of `candidates` (not empty; with `weights`, in proportion to
// them) in random order: those not in `used` first, the others only when none
// is left. Distinct as long as there are enough candidates.
std::vector<int64_t> DrawSources(const SourceDraw& draw,
                                 const std::vector<int64_t>& candidates,
                                 const std::vector<float>& weights,
                                 const absl::flat_hash_set<int64_t>& used);

// `images` [n f^2, C, H, W]: f^2 consecutive ones, resized (nearest) to the
// tile side, are pasted into one stored image, row by row. Returns
// [n, C, H, W]; where f does not divide the side, the last tiles are cut off.
at::Tensor PasteTiles(const at::Tensor& images, int factor);

// clamp(N(0, 1) / 4 + 0.5) of shape [n, channels, height, width] on the CPU.
struct NoiseShape {
  int64_t images = 0;
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
};
at::Tensor NoiseImages(uint64_t seed, uint32_t label, const NoiseShape& shape);
// N(0, 1), for preprocessed images: the same draws before they are scaled.
at::Tensor NormalImages(uint64_t seed, uint32_t label, const NoiseShape& shape);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_INIT_INITIAL_IMAGES_H_
