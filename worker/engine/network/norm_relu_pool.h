// Instance norm (affine), ReLU and 2x2 average pooling as one operator, with
// analytic first and second derivatives: what lies between two convolutions of
// ConvNet.
//
//   z = (x - mean) / sqrt(variance + eps) over each plane (an image's channel)
//   result = average over 2x2 pixels, stride 2, of max(0, weight z + bias);
//   an odd last row or column is dropped (but counts in mean and variance)
//
// It keeps its input and two numbers a plane, and nothing of what lies between.
//
// Shapes: maps [N, C, H, W], weight and bias [C]; the result
//   [N, C, H / 2, W / 2]. On a CPU it computes, and returns, channels-last.
// Numerics: float and double. A plane does not depend on its batch; on a CPU
//   the bits are the same with every instruction set. A NaN stays one.
//   Differentiable twice: a third derivative throws c10::Error.
// Devices: three operators of torch's dispatcher, defined here and implemented
//   here for the CPU, which a plug-in may implement for its device:
//     dasm::norm_relu_pool, dasm::norm_relu_pool_backward,
//     dasm::norm_relu_pool_double_backward
//   Where a device implements none of them, torch's own operators compute the
//   same function. The schemas, and what each returns, are in the .cc.
#ifndef DASM_WORKER_ENGINE_NETWORK_NORM_RELU_POOL_H_
#define DASM_WORKER_ENGINE_NETWORK_NORM_RELU_POOL_H_

#include <ATen/core/Tensor.h>

namespace dasm {

at::Tensor NormReluPool(const at::Tensor& maps, const at::Tensor& weight,
                        const at::Tensor& bias, double eps);

// The same of torch's operators, differentiable any number of times.
at::Tensor NormReluPoolOfTorch(const at::Tensor& maps, const at::Tensor& weight,
                               const at::Tensor& bias, double eps);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_NORM_RELU_POOL_H_
