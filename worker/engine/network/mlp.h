// Two hidden layers of 128 with ReLU (the released code of the trajectory
// family; its papers say one). Takes images of any size.
#ifndef DASM_WORKER_ENGINE_NETWORK_MLP_H_
#define DASM_WORKER_ENGINE_NETWORK_MLP_H_

#include "worker/engine/network/layered_network.h"

namespace dasm {

class Mlp final : public LayeredNetwork {
 public:
  Mlp(ImageShape image_shape, int classes);

 protected:
  at::Tensor Features(const at::Tensor& images, LayerPass* pass) const override;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_MLP_H_
