// Labelled images that a network is trained or tested on, gathered by index.
// Images come from where they lie, the host or a device, targets from the host;
// who computes elsewhere moves them.
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
  // What a network is trained towards: the labels, or probabilities f32
  // [n, classes] where the source has soft labels. On the host.
  virtual at::Tensor Targets(absl::Span<const int64_t> indices) const;
  virtual bool has_soft_targets() const { return false; }
};

// Images that are already normalised: a decoded synthetic set, or the mapped
// pixels of a whitened data set.
class TensorSource final : public ImageSource {
 public:
  // `images` [M, C, H, W] fp32 on the host; `targets` undefined or
  // probabilities [M, classes] fp32 on the host.
  TensorSource(at::Tensor images, std::vector<int64_t> labels,
               at::Tensor targets = {});
  int64_t size() const override;
  ImageShape shape() const override;
  const std::vector<int64_t>& labels() const override { return labels_; }
  at::Tensor Normalised(absl::Span<const int64_t> indices) const override;
  at::Tensor Targets(absl::Span<const int64_t> indices) const override;
  bool has_soft_targets() const override { return targets_.defined(); }

 private:
  at::Tensor images_;
  std::vector<int64_t> labels_;
  at::Tensor targets_;
};

// The images [begin, end) of a source, which it borrows.
class SourceRange final : public ImageSource {
 public:
  SourceRange(const ImageSource* source, int64_t begin, int64_t end);
  int64_t size() const override { return labels_.size(); }
  ImageShape shape() const override { return source_->shape(); }
  const std::vector<int64_t>& labels() const override { return labels_; }
  at::Tensor Normalised(absl::Span<const int64_t> indices) const override;
  at::Tensor Targets(absl::Span<const int64_t> indices) const override;
  bool has_soft_targets() const override { return source_->has_soft_targets(); }

 private:
  std::vector<int64_t> Shifted(absl::Span<const int64_t> indices) const;

  const ImageSource* source_;
  int64_t begin_;
  std::vector<int64_t> labels_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_IMAGE_SOURCE_H_
