#include "worker/engine/update/momentum_sgd.h"

#include <ATen/ATen.h>

namespace dasm {

void MomentumSgd::Step(const at::Tensor& gradient, at::Tensor* value,
                       at::Tensor* velocity) const {
  velocity->mul_(momentum).add_(gradient);
  value->sub_(*velocity, learning_rate);
}

}  // namespace dasm
