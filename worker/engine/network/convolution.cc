#include "worker/engine/network/convolution.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <optional>
#include <tuple>

#include "worker/engine/device/precision.h"

namespace dasm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor Forward(const at::Tensor& x, const at::Tensor& w,
                   const std::optional<at::Tensor>& bias, int64_t padding) {
  return at::conv2d(x, w, bias, at::IntArrayRef({1, 1}),
                    at::IntArrayRef({padding, padding}));
}

// By x, w and the bias, as far as `wanted`.
std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& w,
    int64_t padding, std::array<bool, 3> wanted) {
  return at::convolution_backward(
      gradient, x, w, at::OptionalIntArrayRef({w.size(0)}),
      at::IntArrayRef({1, 1}), at::IntArrayRef({padding, padding}),
      at::IntArrayRef({1, 1}), /*transposed=*/false, at::IntArrayRef({0, 0}),
      /*groups=*/1, wanted);
}

// Whether a function of these is to be recorded.
bool Recorded(const at::Tensor& a, const at::Tensor& b) {
  return at::GradMode::is_enabled() && (a.requires_grad() || b.requires_grad());
}

at::Tensor F(const at::Tensor& x, const at::Tensor& w, int64_t padding);
// `x` gives the size only.
at::Tensor D(const at::Tensor& gradient, const at::Tensor& w,
             const at::Tensor& x, int64_t padding);
at::Tensor W(const at::Tensor& x, const at::Tensor& gradient,
             const at::Tensor& w, int64_t padding);

struct ForwardFunction : public torch::autograd::Function<ForwardFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& w,
                            const std::optional<at::Tensor>& bias,
                            int64_t padding, bool zero_bias_gradient) {
    context->save_for_backward({x, w});
    context->saved_data["padding"] = padding;
    context->saved_data["zero_bias_gradient"] = zero_bias_gradient;
    context->saved_data["biased"] = bias.has_value();
    return Forward(x, w, bias, padding);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& w = saved[1];
    const int64_t padding = context->saved_data["padding"].toInt();
    std::array<bool, 3> wanted = {
        context->needs_input_grad(0), context->needs_input_grad(1),
        context->saved_data["biased"].toBool() && context->needs_input_grad(2)};
    at::Tensor zero;
    if (wanted[2] && context->saved_data["zero_bias_gradient"].toBool()) {
      wanted[2] = false;
      zero = at::zeros({w.size(0)}, w.options());
    }
    if (!at::GradMode::is_enabled()) {
      auto [by_x, by_w, by_bias] =
          Backward(gradients[0], x, w, padding, wanted);
      return {by_x, by_w, wanted[2] ? by_bias : zero, at::Tensor(),
              at::Tensor()};
    }
    return {wanted[0] ? D(gradients[0], w, x, padding) : at::Tensor(),
            wanted[1] ? W(x, gradients[0], w, padding) : at::Tensor(),
            wanted[2] ? gradients[0].sum({0, 2, 3}) : zero, at::Tensor(),
            at::Tensor()};
  }
};

struct ByImages : public torch::autograd::Function<ByImages> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& gradient, const at::Tensor& w,
                            const at::Tensor& x, int64_t padding) {
    context->save_for_backward({gradient, w});
    context->saved_data["padding"] = padding;
    return D(gradient, w, x, padding);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list cotangents) {
    const variable_list saved = context->get_saved_variables();
    const int64_t padding = context->saved_data["padding"].toInt();
    const at::Tensor& x = cotangents[0];
    return {
        context->needs_input_grad(0) ? F(x, saved[1], padding) : at::Tensor(),
        context->needs_input_grad(1) ? W(x, saved[0], saved[1], padding)
                                     : at::Tensor(),
        at::Tensor(), at::Tensor()};
  }
};

struct ByWeights : public torch::autograd::Function<ByWeights> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& gradient, const at::Tensor& w,
                            int64_t padding) {
    context->save_for_backward({x, gradient});
    context->saved_data["padding"] = padding;
    return W(x, gradient, w, padding);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list cotangents) {
    const variable_list saved = context->get_saved_variables();
    const int64_t padding = context->saved_data["padding"].toInt();
    const at::Tensor& w = cotangents[0];
    return {
        context->needs_input_grad(0) ? D(saved[1], w, saved[0], padding)
                                     : at::Tensor(),
        context->needs_input_grad(1) ? F(saved[0], w, padding) : at::Tensor(),
        at::Tensor(), at::Tensor()};
  }
};

at::Tensor F(const at::Tensor& x, const at::Tensor& w, int64_t padding) {
  if (!Recorded(x, w)) return Forward(x, w, std::nullopt, padding);
  return ForwardFunction::apply(x, w, std::optional<at::Tensor>(), padding,
                                false);
}

at::Tensor D(const at::Tensor& gradient, const at::Tensor& w,
             const at::Tensor& x, int64_t padding) {
  if (Recorded(gradient, w)) {
    return ByImages::apply(gradient, w, x.detach(), padding);
  }
  return std::get<0>(Backward(gradient, x, w, padding, {true, false, false}));
}

at::Tensor W(const at::Tensor& x, const at::Tensor& gradient,
             const at::Tensor& w, int64_t padding) {
  if (Recorded(x, gradient)) {
    return ByWeights::apply(x, gradient, w.detach(), padding);
  }
  return std::get<1>(Backward(gradient, x, w, padding, {false, true, false}));
}

}  // namespace

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& w,
                       const at::Tensor& bias, int64_t padding,
                       BiasGradient bias_gradient) {
  if (ConvolvesInBf16(x)) {
    return Convolution(x.to(at::kBFloat16), w.to(at::kBFloat16),
                       bias.to(at::kBFloat16), padding, bias_gradient)
        .to(at::kFloat);
  }
  if (!Recorded(x, w) &&
      !(at::GradMode::is_enabled() && bias.requires_grad())) {
    return Forward(x, w, bias, padding);
  }
  return ForwardFunction::apply(x, w, std::optional<at::Tensor>(bias), padding,
                                bias_gradient == BiasGradient::kZero);
}

}  // namespace dasm
