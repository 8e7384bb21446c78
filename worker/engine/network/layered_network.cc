#include "worker/engine/network/layered_network.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "worker/engine/network/convolution.h"

namespace dasm {
namespace {

constexpr double kRunningMomentum = 0.1;

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

bool IsSmallGrey(ImageShape shape) {
  return shape.channels == 1 && shape.height == 28 && shape.width == 28;
}

at::Tensor ChannelsLast(const at::Tensor& maps) {
  if (maps.size(1) > 1) return maps.contiguous(at::MemoryFormat::ChannelsLast);
  // Of one channel, the strides say what the layout is.
  return maps.reshape({maps.size(0), maps.size(2), maps.size(3), 1})
      .permute({0, 3, 1, 2});
}

at::Tensor MaxPool(const at::Tensor& maps) {
  return at::max_pool2d(maps, {2, 2}, {2, 2});
}

at::Tensor LayerPass::Convolve(const at::Tensor& maps,
                               const ConvolutionShape& shape) {
  const at::Tensor& weight = Next();
  return Convolution(
      maps, ChannelsLast(weight), shape.biased ? Next() : at::Tensor(),
      shape.padding,
      norm_ == Norm::kInstance ? BiasGradient::kZero : BiasGradient::kComputed,
      shape.stride);
}

at::Tensor LayerPass::Normalize(const at::Tensor& maps) {
  if (norm_ == Norm::kNone) return maps;
  const at::Tensor& weight = Next();
  const at::Tensor& bias = Next();
  if (norm_ == Norm::kInstance) {
    return at::group_norm(maps, maps.size(1), weight, bias, kNormEps);
  }
  at::Tensor mean, variance;
  if (buffers_.defined()) {
    const auto& entries = buffer_layout_.entries();
    const ParameterLayout::Entry& means = entries[next_buffer_++];
    const ParameterLayout::Entry& variances = entries[next_buffer_++];
    mean = buffers_.narrow(0, means.offset, means.size);
    variance = buffers_.narrow(0, variances.offset, variances.size);
  }
  return at::batch_norm(maps, weight, bias, mean, variance,
                        /*training=*/mode_ == BufferMode::kTrain,
                        kRunningMomentum, kNormEps,
                        /*cudnn_enabled=*/false);
}

at::Tensor LayerPass::Linear(const at::Tensor& rows) {
  const at::Tensor& weight = Next();
  return at::linear(rows, weight, Next());
}

void LayeredNetwork::AddConvolution(const std::string& name, int64_t out,
                                    int64_t in, int64_t side, bool biased) {
  parameters_.Add(name + ".w", {out, in, side, side});
  if (biased) parameters_.Add(name + ".b", {out});
}

void LayeredNetwork::AddNorm(const std::string& name, int64_t channels) {
  if (norm_ == Norm::kNone) return;
  parameters_.Add(name + ".w", {channels});
  parameters_.Add(name + ".b", {channels});
  if (norm_ != Norm::kBatch) return;
  buffers_.Add(name + ".mean", {channels});
  buffers_.Add(name + ".variance", {channels});
}

void LayeredNetwork::AddLinear(const std::string& name, int64_t out,
                               int64_t in) {
  parameters_.Add(name + ".w", {out, in});
  parameters_.Add(name + ".b", {out});
}

void LayeredNetwork::AddClassifier(int64_t features) {
  features_ = features;
  AddLinear("fc", classes_, features);
}

at::Tensor LayeredNetwork::Initialize(const RandomStream& stream, uint32_t a,
                                      uint32_t b) const {
  at::Tensor flat = at::empty({parameters_.total()}, at::kFloat);
  float* values = flat.mutable_data_ptr<float>();
  double bound = 0;
  for (size_t t = 0; t < parameters_.entries().size(); ++t) {
    const ParameterLayout::Entry& entry = parameters_.entries()[t];
    float* begin = values + entry.offset;
    const bool is_weight = entry.name.ends_with(".w");
    if (absl::StrContains(entry.name, "norm")) {
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

at::Tensor LayeredNetwork::InitialBuffers() const {
  at::Tensor flat = at::zeros({buffers_.total()}, at::kFloat);
  for (const ParameterLayout::Entry& entry : buffers_.entries()) {
    if (entry.name.ends_with(".variance")) {
      flat.narrow(0, entry.offset, entry.size).fill_(1);
    }
  }
  return flat;
}

at::Tensor LayeredNetwork::EmbedOne(const std::vector<at::Tensor>& slices,
                                    const at::Tensor& images, BufferMode mode,
                                    const at::Tensor& buffers) const {
  LayerPass pass(slices, norm_, buffers_, mode, buffers);
  return Features(images, &pass);
}

at::Tensor LayeredNetwork::ForwardOne(const std::vector<at::Tensor>& slices,
                                      const at::Tensor& images, BufferMode mode,
                                      const at::Tensor& buffers) const {
  LayerPass pass(slices, norm_, buffers_, mode, buffers);
  const at::Tensor features = Features(images, &pass);
  return pass.Linear(features);
}

at::Tensor LayeredNetwork::Forward(const std::vector<at::Tensor>& slices,
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

at::Tensor LayeredNetwork::Embed(const std::vector<at::Tensor>& slices,
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
