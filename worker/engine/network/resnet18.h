// ResNet18 (He et al. 2016) with the 3x3 stem of CIFAR, as the trajectory
// family evaluates it: four stages of two basic blocks (64, 128, 256, 512
// channels). Images of 64 pixels: the stem has stride 2.
//
// With `average_pooling` (the AP variants of DC and DSA) a convolution of
// stride 2 is one of stride 1 and an average pooling, and the classifier sees
// the whole last map.
#ifndef DASM_WORKER_ENGINE_NETWORK_RESNET18_H_
#define DASM_WORKER_ENGINE_NETWORK_RESNET18_H_

#include <string>

#include "worker/engine/network/layered_network.h"

namespace dasm {

class ResNet18 final : public LayeredNetwork {
 public:
  // `norm` is not none; `image_shape` was checked by MakeNetwork.
  ResNet18(Norm norm, bool average_pooling, ImageShape image_shape,
           int classes);

 protected:
  at::Tensor Features(const at::Tensor& images, LayerPass* pass) const override;

 private:
  void AddBlock(const std::string& name, int64_t in, int64_t out);
  // `halves` the sides of the maps; such blocks also change the channels, and
  // no others do.
  at::Tensor Block(const at::Tensor& maps, bool halves, LayerPass* pass) const;

  const bool average_pooling_;
  const int64_t stem_stride_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_RESNET18_H_
