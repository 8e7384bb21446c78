// A source's images as fp32 in the memory of a device, for loops that draw many
// batches of them: a batch is gathered there instead of on the host. The values
// are the source's, bit for bit.
#ifndef DASM_WORKER_ENGINE_DATASET_DEVICE_IMAGES_H_
#define DASM_WORKER_ENGINE_DATASET_DEVICE_IMAGES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/dataset/image_source.h"

namespace dasm {

// Thread-safe.
class DeviceImages final : public ImageSource {
 public:
  // Copies the images of `source`, which it borrows for labels and targets, in
  // parts. Throws c10::OutOfMemoryError where the device is too small.
  DeviceImages(const ImageSource* source, at::Device device);

  int64_t size() const override { return source_->size(); }
  ImageShape shape() const override { return source_->shape(); }
  const std::vector<int64_t>& labels() const override {
    return source_->labels();
  }
  // On the device.
  at::Tensor Normalised(absl::Span<const int64_t> indices) const override;
  at::Tensor Targets(absl::Span<const int64_t> indices) const override {
    return source_->Targets(indices);
  }
  bool has_soft_targets() const override { return source_->has_soft_targets(); }

 private:
  const ImageSource* const source_;
  at::Tensor images_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_DEVICE_IMAGES_H_
