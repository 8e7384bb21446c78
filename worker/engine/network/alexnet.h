// AlexNet (Krizhevsky et al. 2012) for small images, as the trajectory family
// evaluates it: five convolutions (128, 192, 256, 192, 192 channels) and one
// linear layer, without norm and dropout. Images of 64 pixels: the first
// convolution has stride 2. Grey ones of 28 are padded to 32.
#ifndef DASM_WORKER_ENGINE_NETWORK_ALEXNET_H_
#define DASM_WORKER_ENGINE_NETWORK_ALEXNET_H_

#include "worker/engine/network/layered_network.h"

namespace dasm {

class AlexNet final : public LayeredNetwork {
 public:
  // `image_shape` was checked by MakeNetwork.
  AlexNet(ImageShape image_shape, int classes);

 protected:
  at::Tensor Features(const at::Tensor& images, LayerPass* pass) const override;

 private:
  const ConvolutionShape first_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_ALEXNET_H_
