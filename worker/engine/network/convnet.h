// The ConvNet of dataset distillation (Gidaris & Komodakis 2018 as used by
// Zhao et al. 2021): `depth` blocks of 3x3 convolution, norm, ReLU and 2x2
// average pooling, then one linear layer.
//
// The instance norm is a group norm of one channel a group, with affine
// parameters and eps 1e-5. Grey images of 28 pixels are padded to 32 by the
// first convolution (padding 3).
#ifndef DASM_WORKER_ENGINE_NETWORK_CONVNET_H_
#define DASM_WORKER_ENGINE_NETWORK_CONVNET_H_

#include "worker/engine/network/layered_network.h"

namespace dasm {

class ConvNet final : public LayeredNetwork {
 public:
  // `spec` and `image_shape` were checked by MakeNetwork.
  ConvNet(const NetworkSpec& spec, ImageShape image_shape, int classes);

  // The side of the first block's map for an image side.
  static int FirstBlockSize(ImageShape image_shape, int side);

 protected:
  at::Tensor Features(const at::Tensor& images, LayerPass* pass) const override;

 private:
  // What follows the convolution of a block.
  at::Tensor NormReluAndPool(const at::Tensor& maps, LayerPass* pass) const;

  const int depth_;
  const int64_t first_padding_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_CONVNET_H_
