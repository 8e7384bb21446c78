#include "worker/engine/network/norm_relu_pool.h"

#include <ATen/ATen.h>
#include <ATen/Version.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "worker/engine/network/average_pool.h"
#include "worker/engine/network/norm_relu_pool_kernel.h"

namespace dasm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using OptionalTensor = std::optional<at::Tensor>;

// That of the instruction set which torch was pinned to.
VectorWidth PinnedWidth() {
  static const VectorWidth width = [] {
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return VectorWidth::kAvx512;
    if (capability == "AVX2") return VectorWidth::kAvx2;
    return VectorWidth::k16Bytes;
  }();
  return width;
}

// Channels up to the next multiple that the kernels want, filled with zeros.
class Padding {
 public:
  explicit Padding(const at::Tensor& maps) : channels_(maps.size(1)) {
    const int64_t multiple = 64 / static_cast<int64_t>(maps.element_size());
    missing_ = (multiple - channels_ % multiple) % multiple;
  }
  at::Tensor Maps(const at::Tensor& maps) const {
    return (missing_ == 0
                ? maps
                : at::constant_pad_nd(maps, {0, 0, 0, 0, 0, missing_}))
        .contiguous(at::MemoryFormat::ChannelsLast);
  }
  // The last dimension of [C] or [N, C].
  at::Tensor Vector(const at::Tensor& vector) const {
    return (missing_ == 0 ? vector : at::constant_pad_nd(vector, {0, missing_}))
        .contiguous();
  }
  at::Tensor OffMaps(const at::Tensor& maps) const {
    return missing_ == 0 ? maps
                         : maps.narrow(1, 0, channels_)
                               .contiguous(at::MemoryFormat::ChannelsLast);
  }
  at::Tensor OffVector(const at::Tensor& vector) const {
    return missing_ == 0 ? vector
                         : vector.narrow(-1, 0, channels_).contiguous();
  }

 private:
  int64_t channels_;
  int64_t missing_;
};

MapShape ShapeOf(const at::Tensor& maps) {
  return {maps.size(0), maps.size(2), maps.size(3), maps.size(1)};
}

at::Tensor EmptyMaps(const MapShape& shape, int64_t height, int64_t width,
                     const at::Tensor& like) {
  return at::empty({shape.images, shape.channels, height, width},
                   like.options(), at::MemoryFormat::ChannelsLast);
}

Three ForwardCpu(const at::Tensor& maps, const at::Tensor& weight,
                 const at::Tensor& bias, double eps) {
  const Padding padding(maps);
  const at::Tensor x = padding.Maps(maps);
  const at::Tensor w = padding.Vector(weight);
  const at::Tensor b = padding.Vector(bias);
  const MapShape shape = ShapeOf(x);
  const at::Tensor pooled =
      EmptyMaps(shape, shape.height / 2, shape.width / 2, x);
  const at::Tensor mean =
      at::empty({shape.images, shape.channels}, x.options());
  const at::Tensor rstd = at::empty_like(mean);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "norm_relu_pool", [&] {
    Compute(PinnedWidth(),
            NormReluPoolForward<scalar_t>{
                shape, static_cast<scalar_t>(eps), x.const_data_ptr<scalar_t>(),
                w.const_data_ptr<scalar_t>(), b.const_data_ptr<scalar_t>(),
                pooled.mutable_data_ptr<scalar_t>(),
                mean.mutable_data_ptr<scalar_t>(),
                rstd.mutable_data_ptr<scalar_t>()});
  });
  return {padding.OffMaps(pooled), padding.OffVector(mean),
          padding.OffVector(rstd)};
}

Three BackwardCpu(const at::Tensor& gradient, const at::Tensor& maps,
                  const at::Tensor& mean, const at::Tensor& rstd,
                  const at::Tensor& weight, const at::Tensor& bias) {
  const Padding padding(maps);
  const at::Tensor g = padding.Maps(gradient);
  const at::Tensor x = padding.Maps(maps);
  const at::Tensor m = padding.Vector(mean);
  const at::Tensor r = padding.Vector(rstd);
  const at::Tensor w = padding.Vector(weight);
  const at::Tensor b = padding.Vector(bias);
  const MapShape shape = ShapeOf(x);
  const at::Tensor by_x = EmptyMaps(shape, shape.height, shape.width, x);
  const at::Tensor by_w = at::zeros_like(w);
  const at::Tensor by_b = at::zeros_like(b);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "norm_relu_pool_backward", [&] {
    Compute(PinnedWidth(),
            NormReluPoolBackward<scalar_t>{
                shape, g.const_data_ptr<scalar_t>(),
                x.const_data_ptr<scalar_t>(), m.const_data_ptr<scalar_t>(),
                r.const_data_ptr<scalar_t>(), w.const_data_ptr<scalar_t>(),
                b.const_data_ptr<scalar_t>(), by_x.mutable_data_ptr<scalar_t>(),
                by_w.mutable_data_ptr<scalar_t>(),
                by_b.mutable_data_ptr<scalar_t>()});
  });
  return {padding.OffMaps(by_x), padding.OffVector(by_w),
          padding.OffVector(by_b)};
}

Three DoubleBackwardCpu(const OptionalTensor& maps_cotangent,
                        const OptionalTensor& weight_cotangent,
                        const OptionalTensor& bias_cotangent,
                        const at::Tensor& gradient, const at::Tensor& maps,
                        const at::Tensor& mean, const at::Tensor& rstd,
                        const at::Tensor& weight, const at::Tensor& bias) {
  const Padding padding(maps);
  const at::Tensor g = padding.Maps(gradient);
  const at::Tensor x = padding.Maps(maps);
  const at::Tensor m = padding.Vector(mean);
  const at::Tensor r = padding.Vector(rstd);
  const at::Tensor w = padding.Vector(weight);
  const at::Tensor b = padding.Vector(bias);
  const at::Tensor of_x =
      maps_cotangent ? padding.Maps(*maps_cotangent) : at::zeros_like(x);
  const at::Tensor of_w =
      weight_cotangent ? padding.Vector(*weight_cotangent) : at::zeros_like(w);
  const at::Tensor of_b =
      bias_cotangent ? padding.Vector(*bias_cotangent) : at::zeros_like(b);
  const MapShape shape = ShapeOf(x);
  const at::Tensor by_g =
      EmptyMaps(shape, shape.height / 2, shape.width / 2, x);
  const at::Tensor by_x = EmptyMaps(shape, shape.height, shape.width, x);
  const at::Tensor by_w = at::zeros_like(w);
  AT_DISPATCH_FLOATING_TYPES(
      x.scalar_type(), "norm_relu_pool_double_backward", [&] {
        Compute(
            PinnedWidth(),
            NormReluPoolDoubleBackward<scalar_t>{
                shape, of_x.const_data_ptr<scalar_t>(),
                of_w.const_data_ptr<scalar_t>(),
                of_b.const_data_ptr<scalar_t>(), g.const_data_ptr<scalar_t>(),
                x.const_data_ptr<scalar_t>(), m.const_data_ptr<scalar_t>(),
                r.const_data_ptr<scalar_t>(), w.const_data_ptr<scalar_t>(),
                b.const_data_ptr<scalar_t>(), by_g.mutable_data_ptr<scalar_t>(),
                by_x.mutable_data_ptr<scalar_t>(),
                by_w.mutable_data_ptr<scalar_t>()});
      });
  return {padding.OffMaps(by_g), padding.OffMaps(by_x),
          padding.OffVector(by_w)};
}

}  // namespace

// The agreement with plug-ins. Maps are dense, in any memory format; `mean` and
// `rstd` are [N, C]. With u = [weight z + bias > 0] grad / 4 spread to its four
// pixels, and means over a plane:
//   norm_relu_pool          -> pooled, mean, rstd
//   .._backward             -> by x: weight rstd (u - mean(u) - z mean(u z)),
//                              by weight: sum of u z, by bias: sum of u
//   .._double_backward      -> the adjoint of .._backward's derivative at the
//                              cotangents of its three results (absent: zero):
//                              by grad, by x (also through mean and rstd), by
//                              weight; by bias it is zero
TORCH_LIBRARY_FRAGMENT(dasm, library) {
  library.def(
      "norm_relu_pool(Tensor x, Tensor weight, Tensor bias, float eps) -> "
      "(Tensor, Tensor, Tensor)");
  library.def(
      "norm_relu_pool_backward(Tensor grad, Tensor x, Tensor mean, Tensor "
      "rstd, Tensor weight, Tensor bias) -> (Tensor, Tensor, Tensor)");
  library.def(
      "norm_relu_pool_double_backward(Tensor? x_cotangent, Tensor? "
      "weight_cotangent, Tensor? bias_cotangent, Tensor grad, Tensor x, Tensor "
      "mean, Tensor rstd, Tensor weight, Tensor bias) -> (Tensor, Tensor, "
      "Tensor)");
}

TORCH_LIBRARY_IMPL(dasm, CPU, library) {
  library.impl("norm_relu_pool", ForwardCpu);
  library.impl("norm_relu_pool_backward", BackwardCpu);
  library.impl("norm_relu_pool_double_backward", DoubleBackwardCpu);
}

namespace {

c10::OperatorHandle Find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

Three ForwardOp(const at::Tensor& maps, const at::Tensor& weight,
                const at::Tensor& bias, double eps) {
  static const auto op =
      Find("dasm::norm_relu_pool").typed<decltype(ForwardCpu)>();
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return op.call(maps, weight, bias, eps);
}

Three BackwardOp(const at::Tensor& gradient, const at::Tensor& maps,
                 const at::Tensor& mean, const at::Tensor& rstd,
                 const at::Tensor& weight, const at::Tensor& bias) {
  static const auto op =
      Find("dasm::norm_relu_pool_backward").typed<decltype(BackwardCpu)>();
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return op.call(gradient, maps, mean, rstd, weight, bias);
}

Three DoubleBackwardOp(const OptionalTensor& maps_cotangent,
                       const OptionalTensor& weight_cotangent,
                       const OptionalTensor& bias_cotangent,
                       const at::Tensor& gradient, const at::Tensor& maps,
                       const at::Tensor& mean, const at::Tensor& rstd,
                       const at::Tensor& weight, const at::Tensor& bias) {
  static const auto op = Find("dasm::norm_relu_pool_double_backward")
                             .typed<decltype(DoubleBackwardCpu)>();
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return op.call(maps_cotangent, weight_cotangent, bias_cotangent, gradient,
                 maps, mean, rstd, weight, bias);
}

OptionalTensor IfDefined(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : std::nullopt;
}

// (gradient, maps, mean, rstd, weight, bias) -> gradients by maps, weight,
// bias. mean and rstd are functions of the maps: their share of the derivative
// is in that by the maps.
struct BackwardFunction : public torch::autograd::Function<BackwardFunction> {
  static variable_list forward(AutogradContext* context,
                               const at::Tensor& gradient,
                               const at::Tensor& maps, const at::Tensor& mean,
                               const at::Tensor& rstd, const at::Tensor& weight,
                               const at::Tensor& bias) {
    context->set_materialize_grads(false);
    context->save_for_backward({gradient, maps, mean, rstd, weight, bias});
    auto [by_maps, by_weight, by_bias] =
        BackwardOp(gradient, maps, mean, rstd, weight, bias);
    return {by_maps, by_weight, by_bias};
  }
  static variable_list backward(AutogradContext* context,
                                variable_list cotangents) {
    TORCH_CHECK(!at::GradMode::is_enabled(),
                "NormReluPool has no third derivative");
    const variable_list saved = context->get_saved_variables();
    auto [by_gradient, by_maps, by_weight] =
        DoubleBackwardOp(IfDefined(cotangents[0]), IfDefined(cotangents[1]),
                         IfDefined(cotangents[2]), saved[0], saved[1], saved[2],
                         saved[3], saved[4], saved[5]);
    return {by_gradient,  by_maps,   at::Tensor(),
            at::Tensor(), by_weight, at::Tensor()};
  }
};

struct NormReluPoolFunction
    : public torch::autograd::Function<NormReluPoolFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& maps,
                            const at::Tensor& weight, const at::Tensor& bias,
                            double eps) {
    auto [pooled, mean, rstd] = ForwardOp(maps, weight, bias, eps);
    context->save_for_backward({maps, mean, rstd, weight, bias});
    return pooled;
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    if (at::GradMode::is_enabled()) {
      const variable_list by = BackwardFunction::apply(
          gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4]);
      return {by[0], by[1], by[2], at::Tensor()};
    }
    auto [by_maps, by_weight, by_bias] = BackwardOp(
        gradients[0], saved[0], saved[1], saved[2], saved[3], saved[4]);
    return {by_maps, by_weight, by_bias, at::Tensor()};
  }
};

// All three, or none is used.
bool HasKernels(const at::Tensor& maps) {
  if (maps.is_cpu()) return true;
  const c10::DispatchKey key = c10::legacyExtractDispatchKey(maps.key_set());
  for (const char* name :
       {"dasm::norm_relu_pool", "dasm::norm_relu_pool_backward",
        "dasm::norm_relu_pool_double_backward"}) {
    if (!Find(name).hasKernelForDispatchKey(key)) return false;
  }
  return true;
}

}  // namespace

at::Tensor NormReluPoolOfTorch(const at::Tensor& maps, const at::Tensor& weight,
                               const at::Tensor& bias, double eps) {
  // In place: the norm does not need its output again.
  return AveragePool(
      at::group_norm(maps, maps.size(1), weight, bias, eps).relu_());
}

at::Tensor NormReluPool(const at::Tensor& maps, const at::Tensor& weight,
                        const at::Tensor& bias, double eps) {
  if (!HasKernels(maps)) return NormReluPoolOfTorch(maps, weight, bias, eps);
  const bool recorded =
      at::GradMode::is_enabled() &&
      (maps.requires_grad() || weight.requires_grad() || bias.requires_grad());
  if (!recorded) return std::get<0>(ForwardOp(maps, weight, bias, eps));
  return NormReluPoolFunction::apply(maps, weight, bias, eps);
}

}  // namespace dasm
