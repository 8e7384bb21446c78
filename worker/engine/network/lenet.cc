#include "worker/engine/network/lenet.h"

#include <ATen/ATen.h>

namespace dasm {

LeNet::LeNet(ImageShape image_shape, int classes)
    : LayeredNetwork(Norm::kNone, image_shape, classes),
      first_{.padding = IsSmallGrey(image_shape) ? 2 : 0,
             .stride = image_shape.height == 64 ? 2 : 1} {
  AddConvolution("conv0", 6, image_shape.channels, 5);
  AddConvolution("conv1", 16, 6, 5);
  AddLinear("hidden0", 120, 16 * 5 * 5);
  AddLinear("hidden1", 84, 120);
  AddClassifier(84);
}

at::Tensor LeNet::Features(const at::Tensor& images, LayerPass* pass) const {
  at::Tensor maps =
      MaxPool(pass->Convolve(ChannelsLast(images), first_).relu_());
  maps = MaxPool(pass->Convolve(maps, {.padding = 0}).relu_());
  const at::Tensor hidden = pass->Linear(maps.flatten(1)).relu_();
  return pass->Linear(hidden).relu_();
}

}  // namespace dasm
