#include "worker/engine/device/resident_images.h"

#include <ATen/ATen.h>

#include <utility>

#include "worker/engine/dataset/device_images.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/device/device_ops.h"
#include "worker/engine/device/step_graph.h"

namespace dasm {
namespace {

constexpr int64_t kMaxBytes = int64_t{8} << 30;

}  // namespace

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
}

ImageShape ResidentImages::shape() const {
  return {static_cast<int>(bytes_.size(1)), static_cast<int>(bytes_.size(2)),
          static_cast<int>(bytes_.size(3))};
}

at::Tensor ResidentImages::Normalised(absl::Span<const int64_t> indices) const {
  return GatherBytes(bytes_, tables_, UploadIndices(indices, bytes_.device()));
}

std::unique_ptr<ImageSource> MakeResident(const ImageSource* source,
                                          at::Device device) {
  if (device.is_cpu()) return nullptr;
  const auto* bytes = dynamic_cast<const ByteImages*>(source);
  const int64_t element = bytes != nullptr ? 1 : sizeof(float);
  if (source->size() * source->shape().elements() * element > kMaxBytes) {
    return nullptr;
  }
  if (bytes == nullptr) return std::make_unique<DeviceImages>(source, device);
  return std::make_unique<ResidentImages>(
      bytes->AllBytes(), bytes->NormalisedTables(), source->labels(), device);
}

}  // namespace dasm
