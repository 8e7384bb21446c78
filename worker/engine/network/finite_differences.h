// For tests: the gradient of a scalar function against central differences in
// double precision, along a random direction.
#ifndef DASM_WORKER_ENGINE_NETWORK_FINITE_DIFFERENCES_H_
#define DASM_WORKER_ENGINE_NETWORK_FINITE_DIFFERENCES_H_

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace dasm {

using ScalarFunction = std::function<at::Tensor(const at::Tensor&)>;

// Values in [-1, 1] that look random and are the same everywhere.
inline at::Tensor TestTensor(at::IntArrayRef shape, double phase = 0) {
  int64_t size = 1;
  for (int64_t extent : shape) size *= extent;
  const at::Tensor index = at::arange(size, at::kDouble);
  return at::sin(index * index * 0.37 + index * 1.7 + phase).view(shape);
}

// |analytic - numeric| / max(|numeric|, 1e-3) of the derivative of `f` at `x`
// (double) along a fixed direction. The step is to be so small that a ReLU
// hardly ever changes side.
inline double GradientError(const ScalarFunction& f, const at::Tensor& x,
                            double step = 1e-6) {
  const at::Tensor leaf = x.detach().clone().requires_grad_();
  const at::Tensor gradient = torch::autograd::grad({f(leaf)}, {leaf}).front();
  const at::Tensor direction = TestTensor(x.sizes(), 0.4);
  const double analytic = (gradient * direction).sum().item<double>();
  const double above = f(x.detach() + step * direction).detach().item<double>();
  const double below = f(x.detach() - step * direction).detach().item<double>();
  const double numeric = (above - below) / (2 * step);
  return std::abs(analytic - numeric) / std::max(std::abs(numeric), 1e-3);
}

// The function x -> <d f(x, y) / dy, fixed direction> at `y`, whose gradient is
// a second derivative of f.
inline ScalarFunction DirectionalDerivative(
    std::function<at::Tensor(const at::Tensor&, const at::Tensor&)> f,
    const at::Tensor& y) {
  return [f = std::move(f), y](const at::Tensor& x) {
    const at::Tensor leaf = y.detach().clone().requires_grad_();
    const at::Tensor gradient =
        torch::autograd::grad({f(x, leaf)}, {leaf}, /*grad_outputs=*/{},
                              /*retain_graph=*/true, /*create_graph=*/true)
            .front();
    return (gradient * TestTensor(y.sizes(), 0.9)).sum();
  };
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_FINITE_DIFFERENCES_H_
