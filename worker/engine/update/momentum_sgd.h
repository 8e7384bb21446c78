// Plain SGD with momentum, torch's: no dampening, no Nesterov, no decay.
//   v <- momentum v + g;  x <- x - learning_rate v,  v = 0 at first
#ifndef DASM_WORKER_ENGINE_UPDATE_MOMENTUM_SGD_H_
#define DASM_WORKER_ENGINE_UPDATE_MOMENTUM_SGD_H_

#include <ATen/core/Tensor.h>

namespace dasm {

struct MomentumSgd {
  double learning_rate = 0;
  double momentum = 0;

  // `value` and `velocity` in place; all of one shape.
  void Step(const at::Tensor& gradient, at::Tensor* value,
            at::Tensor* velocity) const;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_UPDATE_MOMENTUM_SGD_H_
