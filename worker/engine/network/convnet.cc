#include "worker/engine/network/convnet.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "worker/engine/network/average_pool.h"
#include "worker/engine/network/convolution.h"
#include "worker/engine/network/norm_relu_pool.h"

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

// oneDNN's convolutions and our norm need no reordering of these (15 % of a
// convolution). Of one channel, the strides say what the layout is.
at::Tensor ChannelsLast(const at::Tensor& maps) {
  if (maps.size(1) > 1) return maps.contiguous(at::MemoryFormat::ChannelsLast);
  return maps.reshape({maps.size(0), maps.size(2), maps.size(3), 1})
      .permute({0, 3, 1, 2});
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

at::Tensor ConvNet::NormReluAndPool(const at::Tensor& maps, int block,
                                    const std::vector<at::Tensor>& slices,
                                    BufferMode mode,
                                    const at::Tensor& buffers) const {
  // In place: neither a convolution nor a norm needs its output again.
  if (spec_.norm == Norm::kNone) return AveragePool(maps.relu_());
  const at::Tensor& weight = slices[4 * block + 2];
  const at::Tensor& bias = slices[4 * block + 3];
  if (spec_.norm == Norm::kInstance) {
    return NormReluPool(maps, weight, bias, kNormEps);
  }
  at::Tensor mean, variance;
  if (buffers.defined()) {
    const auto& entries = buffers_.entries();
    mean = buffers.narrow(0, entries[2 * block].offset, spec_.width);
    variance = buffers.narrow(0, entries[2 * block + 1].offset, spec_.width);
  }
  return AveragePool(at::batch_norm(maps, weight, bias, mean, variance,
                                    /*training=*/mode == BufferMode::kTrain,
                                    kRunningMomentum, kNormEps,
                                    /*cudnn_enabled=*/false)
                         .relu_());
}

at::Tensor ConvNet::EmbedOne(const std::vector<at::Tensor>& slices,
                             const at::Tensor& images, BufferMode mode,
                             const at::Tensor& buffers) const {
  const int stride = spec_.norm == Norm::kNone ? 2 : 4;
  at::Tensor maps = ChannelsLast(images);
  for (int block = 0; block < spec_.depth; ++block) {
    const int64_t padding = block == 0 ? first_padding_ : 1;
    maps = Convolution(maps, ChannelsLast(slices[stride * block]),
                       slices[stride * block + 1], padding,
                       spec_.norm == Norm::kInstance ? BiasGradient::kZero
                                                     : BiasGradient::kComputed);
    maps = NormReluAndPool(maps, block, slices, mode, buffers);
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
