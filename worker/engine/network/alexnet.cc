#include "worker/engine/network/alexnet.h"

#include <ATen/ATen.h>

namespace dasm {

AlexNet::AlexNet(ImageShape image_shape, int classes)
    : LayeredNetwork(Norm::kNone, image_shape, classes),
      first_{.padding = IsSmallGrey(image_shape) ? 4 : 2,
             .stride = image_shape.height == 64 ? 2 : 1} {
  AddConvolution("conv0", 128, image_shape.channels, 5);
  AddConvolution("conv1", 192, 128, 5);
  AddConvolution("conv2", 256, 192, 3);
  AddConvolution("conv3", 192, 256, 3);
  AddConvolution("conv4", 192, 192, 3);
  AddClassifier(192 * 4 * 4);
}

at::Tensor AlexNet::Features(const at::Tensor& images, LayerPass* pass) const {
  at::Tensor maps =
      MaxPool(pass->Convolve(ChannelsLast(images), first_).relu_());
  maps = MaxPool(pass->Convolve(maps, {.padding = 2}).relu_());
  for (int i = 0; i < 3; ++i) maps = pass->Convolve(maps, {}).relu_();
  return MaxPool(maps).flatten(1);
}

}  // namespace dasm
