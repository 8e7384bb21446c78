#include "worker/engine/dataset/image_source.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace dasm {

at::Tensor ImageSource::Labels(absl::Span<const int64_t> indices) const {
  at::Tensor chosen =
      at::empty({static_cast<int64_t>(indices.size())}, at::kLong);
  int64_t* out = chosen.mutable_data_ptr<int64_t>();
  for (int64_t index : indices) *out++ = labels()[index];
  return chosen;
}

TensorSource::TensorSource(at::Tensor images, std::vector<int64_t> labels)
    : images_(images.contiguous()), labels_(std::move(labels)) {
  TORCH_CHECK(images_.dim() == 4 && images_.is_cpu() &&
                  images_.scalar_type() == at::kFloat &&
                  images_.size(0) == static_cast<int64_t>(labels_.size()),
              "expected float images [M, C, H, W] on the host and M labels");
}

int64_t TensorSource::size() const { return images_.size(0); }

ImageShape TensorSource::shape() const {
  return {static_cast<int>(images_.size(1)), static_cast<int>(images_.size(2)),
          static_cast<int>(images_.size(3))};
}

at::Tensor TensorSource::Normalised(absl::Span<const int64_t> indices) const {
  at::Tensor chosen =
      at::empty({static_cast<int64_t>(indices.size()), images_.size(1),
                 images_.size(2), images_.size(3)},
                at::kFloat);
  const int64_t elements = shape().elements();
  const float* from = images_.const_data_ptr<float>();
  float* to = chosen.mutable_data_ptr<float>();
  for (int64_t index : indices) {
    to = std::copy_n(from + index * elements, elements, to);
  }
  return chosen;
}

}  // namespace dasm
