// 2x2 average pooling with stride 2; an odd last row or column is dropped.
//
// The same function as at::avg_pool2d, by additions of rows and columns: on a
// CPU the stock kernel costs as much as a convolution. Differentiable any
// number of times.
#ifndef DASM_WORKER_ENGINE_NETWORK_AVERAGE_POOL_H_
#define DASM_WORKER_ENGINE_NETWORK_AVERAGE_POOL_H_

#include <ATen/core/Tensor.h>

namespace dasm {

// `maps` [N, C, H, W].
at::Tensor AveragePool(const at::Tensor& maps);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_AVERAGE_POOL_H_
