#include "worker/engine/device/resident_images.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "worker/engine/device/device_ops.h"

namespace dasm {

ResidentImages::ResidentImages(const at::Tensor& bytes,
                               const at::Tensor& tables,
                               std::vector<int64_t> labels, at::Device device)
    : bytes_(bytes.to(device).contiguous()),
      tables_(tables.to(device).contiguous()),
      labels_(std::move(labels)) {
  TORCH_CHECK(bytes_.dim() == 4 && bytes_.scalar_type() == at::kByte &&
                  tables_.scalar_type() == at::kFloat && tables_.dim() == 2 &&
                  tables_.size(0) == bytes_.size(1) && tables_.size(1) == 256 &&
                  bytes_.size(0) == static_cast<int64_t>(labels_.size()),
              "expected bytes [M, C, H, W], tables [C, 256] and M labels");
  device_labels_ = at::empty({bytes_.size(0)}, at::kLong);
  std::copy(labels_.begin(), labels_.end(),
            device_labels_.mutable_data_ptr<int64_t>());
  device_labels_ = device_labels_.to(device);
}

ImageShape ResidentImages::shape() const {
  return {static_cast<int>(bytes_.size(1)), static_cast<int>(bytes_.size(2)),
          static_cast<int>(bytes_.size(3))};
}

at::Tensor ResidentImages::Normalised(absl::Span<const int64_t> indices) const {
  at::Tensor rows =
      at::empty({static_cast<int64_t>(indices.size())}, at::kLong);
  std::copy(indices.begin(), indices.end(), rows.mutable_data_ptr<int64_t>());
  return Gather(rows.to(bytes_.device()));
}

at::Tensor ResidentImages::Gather(const at::Tensor& indices) const {
  return GatherBytes(bytes_, tables_, indices);
}

}  // namespace dasm
