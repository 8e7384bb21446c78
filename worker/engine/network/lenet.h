// LeNet (LeCun et al. 1998) with ReLU and maximum pooling, as the trajectory
// family evaluates it: two 5x5 convolutions (6, 16 channels), then linear
// layers of 120 and 84. Images of 64 pixels: the first convolution has stride
// 2. Grey ones of 28 are padded to 32.
#ifndef DASM_WORKER_ENGINE_NETWORK_LENET_H_
#define DASM_WORKER_ENGINE_NETWORK_LENET_H_

#include "worker/engine/network/layered_network.h"

namespace dasm {

class LeNet final : public LayeredNetwork {
 public:
  // `image_shape` was checked by MakeNetwork.
  LeNet(ImageShape image_shape, int classes);

 protected:
  at::Tensor Features(const at::Tensor& images, LayerPass* pass) const override;

 private:
  const ConvolutionShape first_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_LENET_H_
