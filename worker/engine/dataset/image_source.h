// Labelled images that a network is trained or tested on, gathered by index.
// Results are on the host; who computes elsewhere moves them.
#ifndef DASM_WORKER_ENGINE_DATASET_IMAGE_SOURCE_H_
#define DASM_WORKER_ENGINE_DATASET_IMAGE_SOURCE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/network/network.h"

namespace dasm {

// Thread-safe. Indices lie in [0, size()).
class ImageSource {
 public:
  virtual ~ImageSource() = default;
  virtual int64_t size() const = 0;
  virtual ImageShape shape() const = 0;
  virtual const std::vector<int64_t>& labels() const = 0;
  // [n, C, H, W] fp32, normalised; contiguous and freshly allocated, so that
  // its alignment never depends on `indices`.
  virtual at::Tensor Normalised(absl::Span<const int64_t> indices) const = 0;

  // The labels at `indices`, int64 [n].
  at::Tensor Labels(absl::Span<const int64_t> indices) const;
};

// Images that are already normalised and in memory, such as a decoded
// synthetic set.
class TensorSource final : public ImageSource {
 public:
  // `images` [M, C, H, W] fp32 on the host.
  TensorSource(at::Tensor images, std::vector<int64_t> labels);
  int64_t size() const override;
  ImageShape shape() const override;
  const std::vector<int64_t>& labels() const override { return labels_; }
  at::Tensor Normalised(absl::Span<const int64_t> indices) const override;

 private:
  at::Tensor images_;
  std::vector<int64_t> labels_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_IMAGE_SOURCE_H_
