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

struct Geometry {
  int64_t padding;
  int64_t stride;

  void Save(AutogradContext* context) const {
    context->saved_data["padding"] = padding;
    context->saved_data["stride"] = stride;
  }
  static Geometry Saved(AutogradContext* context) {
    return {context->saved_data["padding"].toInt(),
            context->saved_data["stride"].toInt()};
  }
};

at::Tensor Forward(const at::Tensor& x, const at::Tensor& w,
                   const std::optional<at::Tensor>& bias, Geometry geometry) {
  return at::conv2d(x, w, bias,
                    at::IntArrayRef({geometry.stride, geometry.stride}),
                    at::IntArrayRef({geometry.padding, geometry.padding}));
}

// By x, w and the bias, as far as `wanted`.
std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& w,
    Geometry geometry, std::array<bool, 3> wanted) {
  return at::convolution_backward(
      gradient, x, w, at::OptionalIntArrayRef({w.size(0)}),
      at::IntArrayRef({geometry.stride, geometry.stride}),
      at::IntArrayRef({geometry.padding, geometry.padding}),
      at::IntArrayRef({1, 1}), /*transposed=*/false, at::IntArrayRef({0, 0}),
      /*groups=*/1, wanted);
}

// Whether a function of these is to be recorded.
bool Recorded(const at::Tensor& a, const at::Tensor& b) {
  return at::GradMode::is_enabled() && (a.requires_grad() || b.requires_grad());
}

at::Tensor F(const at::Tensor& x, const at::Tensor& w, Geometry geometry);
// `x` gives the size only.
at::Tensor D(const at::Tensor& gradient, const at::Tensor& w,
             const at::Tensor& x, Geometry geometry);
at::Tensor W(const at::Tensor& x, const at::Tensor& gradient,
             const at::Tensor& w, Geometry geometry);

struct ForwardFunction : public torch::autograd::Function<ForwardFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& w,
                            const std::optional<at::Tensor>& bias,
                            Geometry geometry, bool zero_bias_gradient) {
    context->save_for_backward({x, w});
    geometry.Save(context);
    context->saved_data["zero_bias_gradient"] = zero_bias_gradient;
    context->saved_data["biased"] = bias.has_value();
    return Forward(x, w, bias, geometry);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor& w = saved[1];
    const Geometry geometry = Geometry::Saved(context);
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
          Backward(gradients[0], x, w, geometry, wanted);
      return {by_x, by_w, wanted[2] ? by_bias : zero, at::Tensor(),
              at::Tensor()};
    }
    return {wanted[0] ? D(gradients[0], w, x, geometry) : at::Tensor(),
            wanted[1] ? W(x, gradients[0], w, geometry) : at::Tensor(),
            wanted[2] ? gradients[0].sum({0, 2, 3}) : zero, at::Tensor(),
            at::Tensor()};
  }
};

struct ByImages : public torch::autograd::Function<ByImages> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& gradient, const at::Tensor& w,
                            const at::Tensor& x, Geometry geometry) {
    context->save_for_backward({gradient, w});
    geometry.Save(context);
    return D(gradient, w, x, geometry);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list cotangents) {
    const variable_list saved = context->get_saved_variables();
    const Geometry geometry = Geometry::Saved(context);
    const at::Tensor& x = cotangents[0];
    return {
        context->needs_input_grad(0) ? F(x, saved[1], geometry) : at::Tensor(),
        context->needs_input_grad(1) ? W(x, saved[0], saved[1], geometry)
                                     : at::Tensor(),
        at::Tensor(), at::Tensor()};
  }
};

struct ByWeights : public torch::autograd::Function<ByWeights> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& gradient, const at::Tensor& w,
                            Geometry geometry) {
    context->save_for_backward({x, gradient});
    geometry.Save(context);
    return W(x, gradient, w, geometry);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list cotangents) {
    const variable_list saved = context->get_saved_variables();
    const Geometry geometry = Geometry::Saved(context);
    const at::Tensor& w = cotangents[0];
    return {
        context->needs_input_grad(0) ? D(saved[1], w, saved[0], geometry)
                                     : at::Tensor(),
        context->needs_input_grad(1) ? F(saved[0], w, geometry) : at::Tensor(),
        at::Tensor(), at::Tensor()};
  }
};

at::Tensor F(const at::Tensor& x, const at::Tensor& w, Geometry geometry) {
  if (!Recorded(x, w)) return Forward(x, w, std::nullopt, geometry);
  return ForwardFunction::apply(x, w, std::optional<at::Tensor>(), geometry,
                                false);
}

at::Tensor D(const at::Tensor& gradient, const at::Tensor& w,
             const at::Tensor& x, Geometry geometry) {
  if (Recorded(gradient, w)) {
    return ByImages::apply(gradient, w, x.detach(), geometry);
  }
  return std::get<0>(Backward(gradient, x, w, geometry, {true, false, false}));
}

at::Tensor W(const at::Tensor& x, const at::Tensor& gradient,
             const at::Tensor& w, Geometry geometry) {
  if (Recorded(x, gradient)) {
    return ByWeights::apply(x, gradient, w.detach(), geometry);
  }
  return std::get<1>(Backward(gradient, x, w, geometry, {false, true, false}));
}

}  // namespace

at::Tensor Convolution(const at::Tensor& x, const at::Tensor& w,
                       const at::Tensor& bias, int64_t padding,
                       BiasGradient bias_gradient, int64_t stride) {
  if (ConvolvesInBf16(x)) {
    return Convolution(x.to(at::kBFloat16), w.to(at::kBFloat16),
                       bias.defined() ? bias.to(at::kBFloat16) : bias, padding,
                       bias_gradient, stride)
        .to(at::kFloat);
  }
  const Geometry geometry = {padding, stride};
  const std::optional<at::Tensor> added =
      bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt;
  const bool bias_recorded =
      at::GradMode::is_enabled() && bias.defined() && bias.requires_grad();
  if (!Recorded(x, w) && !bias_recorded) return Forward(x, w, added, geometry);
  return ForwardFunction::apply(x, w, added, geometry,
                                bias_gradient == BiasGradient::kZero);
}

}  // namespace dasm
