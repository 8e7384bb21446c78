#include "worker/engine/dataset/device_images.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "worker/engine/device/step_graph.h"

namespace dasm {
namespace {

constexpr int64_t kPart = 4096;  // images copied at a time

}  // namespace

DeviceImages::DeviceImages(const ImageSource* source, at::Device device)
    : source_(source) {
  const ImageShape shape = source->shape();
  images_ = at::empty({size(), shape.channels, shape.height, shape.width},
                      at::TensorOptions(device).dtype(at::kFloat));
  for (int64_t begin = 0; begin < size(); begin += kPart) {
    std::vector<int64_t> indices(std::min(kPart, size() - begin));
    std::iota(indices.begin(), indices.end(), begin);
    images_.narrow(0, begin, static_cast<int64_t>(indices.size()))
        .copy_(source->Normalised(indices));
  }
}

at::Tensor DeviceImages::Normalised(absl::Span<const int64_t> indices) const {
  return images_.index_select(0, UploadIndices(indices, images_.device()));
}

}  // namespace dasm
