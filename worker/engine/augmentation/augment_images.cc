#include "worker/engine/augmentation/augment_images.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "worker/engine/augmentation/augment_call.h"
#include "worker/engine/augmentation/augmentation_kernel.h"

namespace dasm {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor AugmentCpu(const at::Tensor& images, const at::Tensor& parameters,
                      int64_t plan) {
  const at::Tensor augmented = EmptyAugmented(images);
  AT_DISPATCH_FLOATING_TYPES(images.scalar_type(), "augment", [&] {
    Augment(AugmentCallOf<scalar_t>(images, parameters, plan, augmented));
  });
  return augmented;
}

at::Tensor AugmentAdjointCpu(const at::Tensor& gradient,
                             const at::Tensor& parameters, int64_t plan) {
  const at::Tensor pictures = EmptyPictures(gradient);
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "augment_adjoint", [&] {
    AugmentAdjoint(
        AugmentCallOf<scalar_t>(gradient, parameters, plan, pictures));
  });
  return pictures;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dasm, library) {
  library.def("augment(Tensor images, Tensor parameters, int plan) -> Tensor");
  library.def(
      "augment_adjoint(Tensor gradient, Tensor parameters, int plan) -> "
      "Tensor");
}

TORCH_LIBRARY_IMPL(dasm, CPU, library) {
  library.impl("augment", AugmentCpu);
  library.impl("augment_adjoint", AugmentAdjointCpu);
}

namespace {

auto Find(const char* name) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow(name, "")
      .typed<decltype(AugmentCpu)>();
}

at::Tensor AugmentOp(const at::Tensor& images, const at::Tensor& parameters,
                     int64_t plan) {
  static const auto op = Find("dasm::augment");
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return op.call(images, parameters, plan);
}

at::Tensor AdjointOp(const at::Tensor& gradient, const at::Tensor& parameters,
                     int64_t plan) {
  static const auto op = Find("dasm::augment_adjoint");
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  return op.call(gradient, parameters, plan);
}

at::Tensor Adjoint(const at::Tensor& gradient, const at::Tensor& parameters,
                   int64_t plan);

bool IsRecorded(const at::Tensor& tensor) {
  return at::GradMode::is_enabled() && tensor.requires_grad();
}

struct AugmentFunction : public torch::autograd::Function<AugmentFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& images,
                            const at::Tensor& parameters, int64_t plan) {
    context->save_for_backward({parameters});
    context->saved_data["plan"] = plan;
    return AugmentOp(images, parameters, plan);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list gradients) {
    return {Adjoint(gradients[0], context->get_saved_variables()[0],
                    context->saved_data["plan"].toInt()),
            at::Tensor(), at::Tensor()};
  }
};

struct AdjointFunction : public torch::autograd::Function<AdjointFunction> {
  static at::Tensor forward(AutogradContext* context,
                            const at::Tensor& gradient,
                            const at::Tensor& parameters, int64_t plan) {
    context->save_for_backward({parameters});
    context->saved_data["plan"] = plan;
    return AdjointOp(gradient, parameters, plan);
  }
  static variable_list backward(AutogradContext* context,
                                variable_list cotangents) {
    return {AugmentImages(cotangents[0], context->get_saved_variables()[0],
                          context->saved_data["plan"].toInt() | kLinearBit),
            at::Tensor(), at::Tensor()};
  }
};

at::Tensor Adjoint(const at::Tensor& gradient, const at::Tensor& parameters,
                   int64_t plan) {
  return IsRecorded(gradient)
             ? AdjointFunction::apply(gradient, parameters, plan)
             : AdjointOp(gradient, parameters, plan);
}

}  // namespace

at::Tensor AugmentImages(const at::Tensor& images, const at::Tensor& parameters,
                         int64_t plan) {
  return IsRecorded(images) ? AugmentFunction::apply(images, parameters, plan)
                            : AugmentOp(images, parameters, plan);
}

}  // namespace dasm
