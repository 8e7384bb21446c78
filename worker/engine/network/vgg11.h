// VGG11 (Simonyan & Zisserman 2015) with a norm before every ReLU and one
// linear layer, as the trajectory family evaluates it. Images of 64 pixels: of
// the last 2x2 map the first pixel is kept (the released average pooling of
// kernel 1 and stride 2). Grey ones of 28 are padded to 32.
#ifndef DASM_WORKER_ENGINE_NETWORK_VGG11_H_
#define DASM_WORKER_ENGINE_NETWORK_VGG11_H_

#include "worker/engine/network/layered_network.h"

namespace dasm {

class Vgg11 final : public LayeredNetwork {
 public:
  // `norm` is not none; `image_shape` was checked by MakeNetwork.
  Vgg11(Norm norm, ImageShape image_shape, int classes);

 protected:
  at::Tensor Features(const at::Tensor& images, LayerPass* pass) const override;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_VGG11_H_
