#include "worker/engine/network/average_pool.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dasm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor Pool(const at::Tensor& maps) {
  const int64_t height = maps.size(2) / 2;
  const int64_t width = maps.size(3) / 2;
  const at::Tensor cells = maps.narrow(2, 0, 2 * height)
                               .narrow(3, 0, 2 * width)
                               .unflatten(2, {height, 2});
  const at::Tensor rows = cells.select(3, 0) + cells.select(3, 1);
  const at::Tensor pairs = rows.unflatten(3, {width, 2});
  return (pairs.select(4, 0) + pairs.select(4, 1)).mul_(0.25);
}

// The adjoint: a quarter of each value to its four pixels.
at::Tensor Spread(const at::Tensor& gradient, int64_t height, int64_t width) {
  const at::Tensor quarter = gradient.mul(0.25);
  const int64_t h = gradient.size(2);
  const int64_t w = gradient.size(3);
  at::Tensor maps =
      (2 * h == height && 2 * w == width)
          ? at::empty({gradient.size(0), gradient.size(1), height, width},
                      gradient.options())
          : at::zeros({gradient.size(0), gradient.size(1), height, width},
                      gradient.options());
  at::Tensor cells = maps.narrow(2, 0, 2 * h)
                         .narrow(3, 0, 2 * w)
                         .unflatten(3, {w, 2})
                         .unflatten(2, {h, 2});
  cells.copy_(quarter.unsqueeze(3).unsqueeze(5).expand_as(cells));
  return maps;
}

struct SpreadFunction : public torch::autograd::Function<SpreadFunction> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& gradient, int64_t height,
                            int64_t width) {
    return Spread(gradient, height, width);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    return {AveragePool(gradients[0]), at::Tensor(), at::Tensor()};
  }
};

struct PoolFunction : public torch::autograd::Function<PoolFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& maps) {
    context->saved_data["height"] = maps.size(2);
    context->saved_data["width"] = maps.size(3);
    return Pool(maps);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const int64_t height = context->saved_data["height"].toInt();
    const int64_t width = context->saved_data["width"].toInt();
    if (!at::GradMode::is_enabled()) {
      return {Spread(gradients[0], height, width)};
    }
    return {SpreadFunction::apply(gradients[0], height, width)};
  }
};

}  // namespace

at::Tensor AveragePool(const at::Tensor& maps) {
  if (!maps.is_cpu()) return at::avg_pool2d(maps, {2, 2}, {2, 2});
  if (!at::GradMode::is_enabled() || !maps.requires_grad()) return Pool(maps);
  return PoolFunction::apply(maps);
}

}  // namespace dasm
