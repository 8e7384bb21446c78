// How stored tensors become training images: IDC's multi-formation (Kim et al.
// 2022). Factor f cuts a stored image into f x f tiles of side ceil(side / f)
// and upsamples each to full size (bilinear, corners not aligned); where f does
// not divide the side, 0.5 is padded right and below first. Factor 1 is the
// identity ("pixels").
//
// Shapes: stored [N, C, H, W] in [0, 1], decoded [N f^2, C, H, W], not clamped,
//   tile-major: tile (0, 0) of all images, then (0, 1), ...
// Differentiable. Threads: immutable.
#ifndef DASM_WORKER_ENGINE_PARAMETERIZATION_MULTI_FORMATION_H_
#define DASM_WORKER_ENGINE_PARAMETERIZATION_MULTI_FORMATION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dasm {

class MultiFormation {
 public:
  // 1 <= factor <= image side.
  explicit MultiFormation(int factor);

  int factor() const { return factor_; }
  // Decoded images of one stored image.
  int64_t tiles() const { return int64_t{factor_} * factor_; }
  int64_t TileSide(int64_t side) const {
    return (side + factor_ - 1) / factor_;
  }

  at::Tensor Decode(const at::Tensor& stored) const;
  // Labels [N] in the order of Decode.
  at::Tensor DecodeLabels(const at::Tensor& labels) const;

 private:
  int factor_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_PARAMETERIZATION_MULTI_FORMATION_H_
