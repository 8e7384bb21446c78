#include "worker/engine/dataset/image_source.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace dasm {
namespace {

// The rows of a contiguous fp32 tensor at `indices`, in new memory.
at::Tensor Rows(const at::Tensor& tensor, absl::Span<const int64_t> indices) {
  std::vector<int64_t> shape = tensor.sizes().vec();
  const int64_t elements = tensor.numel() / std::max<int64_t>(1, shape[0]);
  shape[0] = static_cast<int64_t>(indices.size());
  at::Tensor chosen = at::empty(shape, at::kFloat);
  const float* from = tensor.const_data_ptr<float>();
  float* to = chosen.mutable_data_ptr<float>();
  for (int64_t index : indices) {
    to = std::copy_n(from + index * elements, elements, to);
  }
  return chosen;
}

}  // namespace

at::Tensor ImageSource::Labels(absl::Span<const int64_t> indices) const {
  at::Tensor chosen =
      at::empty({static_cast<int64_t>(indices.size())}, at::kLong);
  int64_t* out = chosen.mutable_data_ptr<int64_t>();
  for (int64_t index : indices) *out++ = labels()[index];
  return chosen;
}

at::Tensor ImageSource::Targets(absl::Span<const int64_t> indices) const {
  return Labels(indices);
}

TensorSource::TensorSource(at::Tensor images, std::vector<int64_t> labels,
                           at::Tensor targets)
    : images_(images.contiguous()),
      labels_(std::move(labels)),
      targets_(std::move(targets)) {
  TORCH_CHECK(images_.dim() == 4 && images_.is_cpu() &&
                  images_.scalar_type() == at::kFloat &&
                  images_.size(0) == static_cast<int64_t>(labels_.size()),
              "expected float images [M, C, H, W] on the host and M labels");
  if (!targets_.defined()) return;
  targets_ = targets_.contiguous();
  TORCH_CHECK(targets_.dim() == 2 && targets_.is_cpu() &&
                  targets_.scalar_type() == at::kFloat &&
                  targets_.size(0) == images_.size(0),
              "expected float targets [M, classes] on the host");
}

int64_t TensorSource::size() const { return images_.size(0); }

ImageShape TensorSource::shape() const {
  return {static_cast<int>(images_.size(1)), static_cast<int>(images_.size(2)),
          static_cast<int>(images_.size(3))};
}

at::Tensor TensorSource::Normalised(absl::Span<const int64_t> indices) const {
  return Rows(images_, indices);
}

at::Tensor TensorSource::Targets(absl::Span<const int64_t> indices) const {
  return targets_.defined() ? Rows(targets_, indices) : Labels(indices);
}

SourceRange::SourceRange(const ImageSource* source, int64_t begin, int64_t end)
    : source_(source),
      begin_(begin),
      labels_(source->labels().begin() + begin,
              source->labels().begin() + end) {}

std::vector<int64_t> SourceRange::Shifted(
    absl::Span<const int64_t> indices) const {
  std::vector<int64_t> shifted(indices.begin(), indices.end());
  for (int64_t& index : shifted) index += begin_;
  return shifted;
}

at::Tensor SourceRange::Normalised(absl::Span<const int64_t> indices) const {
  return source_->Normalised(Shifted(indices));
}

at::Tensor SourceRange::Targets(absl::Span<const int64_t> indices) const {
  return source_->Targets(Shifted(indices));
}

}  // namespace dasm
