// Convolution whose derivatives of every order are convolutions of the kinds
// that libraries are fast at.
//
// The three maps y = F(x, w), x' = D(y', w) and w' = W(x, y') are adjoint to
// each other in each argument, so each one's backward is made of the other two.
// torch's own second derivative instead turns W's adjoint into a convolution
// with images for kernels, which costs three times as much
// (docs/performance.md).
//
// Shapes: x [N, C, H, W], w [K, C, k, k], bias [K] or undefined, zeros of
//   `padding` around x. Any device and dtype that at::convolution takes;
//   results have the memory format that it chooses. Errors: c10::Error.
#ifndef DASM_WORKER_ENGINE_NETWORK_CONVOLUTION_H_
#define DASM_WORKER_ENGINE_NETWORK_CONVOLUTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dasm {

// What follows the convolution.
enum class BiasGradient {
  kComputed,
  // Something that subtracts each plane's mean: the bias is without effect, and
  // its gradient is 0 (not the rounding error that a sum would give).
  kZero,
};

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& w,
                       const at::Tensor& bias, int64_t padding,
                       BiasGradient bias_gradient = BiasGradient::kComputed,
                       int64_t stride = 1);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_CONVOLUTION_H_
