// CutMix (Yun et al. 2019) as in IDC: with a probability, a box of every image
// of a batch is replaced by that of a partner, and its loss is shared between
// both labels by the clipped area of the box.
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_CUTMIX_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_CUTMIX_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/base/random_stream.h"
#include "worker/engine/network/network.h"

namespace dasm {

// One box and one permutation for a batch.
struct CutMixDraw {
  bool active = false;
  std::vector<int64_t> partner;  // by position in the batch
  int top = 0;                   // rows [top, bottom), columns [left, right)
  int bottom = 0;
  int left = 0;
  int right = 0;
  // Weight of an image's own label; 1 - weight is the partner's.
  double own_weight = 1;

  // As inputs of a recorded step (step_graph.h), on the host: bool
  // [1, 1, H, W], true in the box; f32 [2], the weights of both labels.
  at::Tensor Box(ImageShape shape) const;
  at::Tensor Weights() const;
};

// From stream.At(a, b): active with `probability`; lambda ~ Beta(1, 1), a box
// of sides sqrt(1 - lambda) of the image around a uniform centre, clipped.
CutMixDraw DrawCutMix(double probability, const RandomStream& stream,
                      uint32_t a, uint32_t b, int64_t batch, ImageShape shape);

// `images` with the `box` of `partners`, both [n, C, H, W] and already
// augmented.
at::Tensor ApplyCutMix(const at::Tensor& images, const at::Tensor& partners,
                       const at::Tensor& box);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_CUTMIX_H_
