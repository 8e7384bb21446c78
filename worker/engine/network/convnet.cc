#include "worker/engine/network/convnet.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "worker/engine/network/average_pool.h"

namespace dasm {
namespace {

constexpr double kNormEps = 1e-5;
constexpr double kRunningMomentum = 0.1;

// 28-pixel grey images become 32 pixels wide in the first convolution.
int64_t FirstPadding(ImageShape shape) {
  return shape.channels == 1 && shape.height == 28 && shape.width == 28 ? 3 : 1;
}

std::vector<at::Tensor> SelectNetwork(const std::vector<at::Tensor>& slices,
                                      int64_t network) {
  std::vector<at::Tensor> selected;
  selected.reserve(slices.size());
  for (const at::Tensor& slice : slices) {
    selected.push_back(slice.select(0, network));
  }
  return selected;
}

}  // namespace

ConvNet::ConvNet(const NetworkSpec& spec, ImageShape image_shape, int classes)
    : spec_(spec),
      image_shape_(image_shape),
      classes_(classes),
      first_padding_(FirstPadding(image_shape)) {
  const int64_t width = spec.width;
  int64_t channels = image_shape.channels;
  int height = FirstBlockSize(image_shape, image_shape.height);
  int columns = FirstBlockSize(image_shape, image_shape.width);
  for (int block = 0; block < spec.depth; ++block) {
    parameters_.Add(absl::StrCat("conv", block, ".w"), {width, channels, 3, 3});
    parameters_.Add(absl::StrCat("conv", block, ".b"), {width});
    if (spec.norm != Norm::kNone) {
      parameters_.Add(absl::StrCat("norm", block, ".w"), {width});
      parameters_.Add(absl::StrCat("norm", block, ".b"), {width});
    }
    if (spec.norm == Norm::kBatch) {
      buffers_.Add(absl::StrCat("norm", block, ".mean"), {width});
      buffers_.Add(absl::StrCat("norm", block, ".variance"), {width});
    }
    channels = width;
    height /= 2;
    columns /= 2;
  }
  features_ = width * height * columns;
  parameters_.Add("fc.w", {classes, features_});
  parameters_.Add("fc.b", {classes});
}

int ConvNet::FirstBlockSize(ImageShape image_shape, int side) {
  return side + 2 * static_cast<int>(FirstPadding(image_shape)) - 2;
}

at::Tensor ConvNet::Initialize(const RandomStream& stream, uint32_t a,
                               uint32_t b) const {
  at::Tensor flat = at::empty({parameters_.total()}, at::kFloat);
  float* values = flat.mutable_data_ptr<float>();
  double bound = 0;
  for (size_t t = 0; t < parameters_.entries().size(); ++t) {
    const ParameterLayout::Entry& entry = parameters_.entries()[t];
    float* begin = values + entry.offset;
    const bool is_weight = entry.name.ends_with(".w");
    if (entry.name.starts_with("norm")) {
      std::fill_n(begin, entry.size, is_weight ? 1.0f : 0.0f);
      continue;
    }
    // A bias follows its weight and shares its bound.
    if (is_weight) {
      bound = 1.0 / std::sqrt(static_cast<double>(entry.size) / entry.shape[0]);
    }
    RandomSequence draws = stream.At(a, b, static_cast<uint32_t>(t));
    for (int64_t i = 0; i < entry.size; ++i) {
      begin[i] = static_cast<float>(draws.Uniform(-bound, bound));
    }
  }
  return flat;
}

at::Tensor ConvNet::InitialBuffers() const {
  at::Tensor flat = at::zeros({buffers_.total()}, at::kFloat);
  for (const ParameterLayout::Entry& entry : buffers_.entries()) {
    if (entry.name.ends_with(".variance")) {
      flat.narrow(0, entry.offset, entry.size).fill_(1);
    }
  }
  return flat;
}

at::Tensor ConvNet::ApplyNorm(const at::Tensor& maps, int block,
                              const std::vector<at::Tensor>& slices,
                              BufferMode mode,
                              const at::Tensor& buffers) const {
  if (spec_.norm == Norm::kNone) return maps;
  const at::Tensor& weight = slices[4 * block + 2];
  const at::Tensor& bias = slices[4 * block + 3];
  if (spec_.norm == Norm::kInstance) {
    return at::group_norm(maps, spec_.width, weight, bias, kNormEps);
  }
  at::Tensor mean, variance;
  if (buffers.defined()) {
    const auto& entries = buffers_.entries();
    mean = buffers.narrow(0, entries[2 * block].offset, spec_.width);
    variance = buffers.narrow(0, entries[2 * block + 1].offset, spec_.width);
  }
  return at::batch_norm(maps, weight, bias, mean, variance,
                        /*training=*/mode == BufferMode::kTrain,
                        kRunningMomentum, kNormEps, /*cudnn_enabled=*/false);
}

at::Tensor ConvNet::EmbedOne(const std::vector<at::Tensor>& slices,
                             const at::Tensor& images, BufferMode mode,
                             const at::Tensor& buffers) const {
  const int stride = spec_.norm == Norm::kNone ? 2 : 4;
  at::Tensor maps = images;
  for (int block = 0; block < spec_.depth; ++block) {
    const int64_t padding = block == 0 ? first_padding_ : 1;
    maps = at::conv2d(maps, slices[stride * block], slices[stride * block + 1],
                      at::IntArrayRef({1, 1}),
                      at::IntArrayRef({padding, padding}));
    maps = ApplyNorm(maps, block, slices, mode, buffers);
    // In place: neither a convolution nor a norm needs its output again.
    maps = AveragePool(maps.relu_());
  }
  return maps.flatten(1);
}

at::Tensor ConvNet::ForwardOne(const std::vector<at::Tensor>& slices,
                               const at::Tensor& images, BufferMode mode,
                               const at::Tensor& buffers) const {
  const at::Tensor& weight = slices[slices.size() - 2];
  const at::Tensor& bias = slices[slices.size() - 1];
  return at::linear(EmbedOne(slices, images, mode, buffers), weight, bias);
}

at::Tensor ConvNet::Forward(const std::vector<at::Tensor>& slices,
                            const at::Tensor& images, BufferMode mode,
                            const at::Tensor& buffers) const {
  if (images.dim() == 4) return ForwardOne(slices, images, mode, buffers);
  std::vector<at::Tensor> logits;
  for (int64_t k = 0; k < images.size(0); ++k) {
    logits.push_back(
        ForwardOne(SelectNetwork(slices, k), images.select(0, k), mode,
                   buffers.defined() ? buffers.select(0, k) : buffers));
  }
  return at::stack(logits);
}

at::Tensor ConvNet::Embed(const std::vector<at::Tensor>& slices,
                          const at::Tensor& images, BufferMode mode,
                          const at::Tensor& buffers) const {
  if (images.dim() == 4) return EmbedOne(slices, images, mode, buffers);
  std::vector<at::Tensor> features;
  for (int64_t k = 0; k < images.size(0); ++k) {
    features.push_back(
        EmbedOne(SelectNetwork(slices, k), images.select(0, k), mode,
                 buffers.defined() ? buffers.select(0, k) : buffers));
  }
  return at::stack(features);
}

}  // namespace dasm
