#include "worker/engine/network/vgg11.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

struct Layer {
  int64_t channels;
  bool pooled;
};
constexpr Layer kLayers[] = {{64, true},   {128, true},  {256, false},
                             {256, true},  {512, false}, {512, true},
                             {512, false}, {512, true}};

}  // namespace

Vgg11::Vgg11(Norm norm, ImageShape image_shape, int classes)
    : LayeredNetwork(norm, image_shape, classes) {
  int64_t channels = image_shape.channels;
  int index = 0;
  for (const Layer& layer : kLayers) {
    AddConvolution(absl::StrCat("conv", index), layer.channels, channels, 3);
    AddNorm(absl::StrCat("norm", index), layer.channels);
    channels = layer.channels;
    ++index;
  }
  AddClassifier(channels);
}

at::Tensor Vgg11::Features(const at::Tensor& images, LayerPass* pass) const {
  at::Tensor maps = ChannelsLast(images);
  int64_t padding = IsSmallGrey(image_shape()) ? 3 : 1;
  for (const Layer& layer : kLayers) {
    maps = pass->Convolve(maps, {.padding = padding});
    maps = pass->Normalize(maps).relu_();
    if (layer.pooled) maps = MaxPool(maps);
    padding = 1;
  }
  return maps.select(3, 0).select(2, 0);
}

}  // namespace dasm
