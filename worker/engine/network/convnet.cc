#include "worker/engine/network/convnet.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "worker/engine/network/average_pool.h"
#include "worker/engine/network/norm_relu_pool.h"

namespace dasm {
namespace {

// 28-pixel grey images become 32 pixels wide in the first convolution.
int64_t FirstPadding(ImageShape shape) { return IsSmallGrey(shape) ? 3 : 1; }

}  // namespace

ConvNet::ConvNet(const NetworkSpec& spec, ImageShape image_shape, int classes)
    : LayeredNetwork(spec.norm, image_shape, classes),
      depth_(spec.depth),
      first_padding_(FirstPadding(image_shape)) {
  int64_t channels = image_shape.channels;
  int height = FirstBlockSize(image_shape, image_shape.height);
  int columns = FirstBlockSize(image_shape, image_shape.width);
  for (int block = 0; block < depth_; ++block) {
    AddConvolution(absl::StrCat("conv", block), spec.width, channels, 3);
    AddNorm(absl::StrCat("norm", block), spec.width);
    channels = spec.width;
    height /= 2;
    columns /= 2;
  }
  AddClassifier(channels * height * columns);
}

int ConvNet::FirstBlockSize(ImageShape image_shape, int side) {
  return side + 2 * static_cast<int>(FirstPadding(image_shape)) - 2;
}

at::Tensor ConvNet::NormReluAndPool(const at::Tensor& maps,
                                    LayerPass* pass) const {
  if (norm() == Norm::kInstance) {
    const at::Tensor& weight = pass->Next();
    return NormReluPool(maps, weight, pass->Next(), kNormEps);
  }
  // In place: neither a convolution nor a norm needs its output again.
  return AveragePool(pass->Normalize(maps).relu_());
}

at::Tensor ConvNet::Features(const at::Tensor& images, LayerPass* pass) const {
  at::Tensor maps = ChannelsLast(images);
  for (int block = 0; block < depth_; ++block) {
    maps = pass->Convolve(maps, {.padding = block == 0 ? first_padding_ : 1});
    maps = NormReluAndPool(maps, pass);
  }
  return maps.flatten(1);
}

}  // namespace dasm
