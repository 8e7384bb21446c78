// The engine's own operators on CUDA: worker/engine/network/norm_relu_pool.h,
// worker/engine/augmentation/augment_images.h and
// worker/engine/device/device_ops.h define what they compute.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "worker/cuda/kernels.h"
#include "worker/engine/augmentation/augment_call.h"

namespace dasm {
namespace {

using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using OptionalTensor = std::optional<at::Tensor>;

void CheckLaunch(int error, const char* what) {
  TORCH_CHECK(error == cudaSuccess, what, ": ",
              cudaGetErrorString(static_cast<cudaError_t>(error)));
}

void* Stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

at::Tensor Nhwc(const at::Tensor& maps) {
  return maps.contiguous(at::MemoryFormat::ChannelsLast);
}

PlaneShape ShapeOf(const at::Tensor& maps) {
  TORCH_CHECK(maps.dim() == 4, "maps are [N, C, H, W], not ", maps.sizes());
  return {static_cast<int>(maps.size(0)), static_cast<int>(maps.size(1)),
          static_cast<int>(maps.size(2)), static_cast<int>(maps.size(3))};
}

at::Tensor EmptyMaps(const at::Tensor& like, int64_t height, int64_t width) {
  return at::empty({like.size(0), like.size(1), height, width}, like.options(),
                   at::MemoryFormat::ChannelsLast);
}

Three NormReluPool(const at::Tensor& maps, const at::Tensor& weight,
                   const at::Tensor& bias, double eps) {
  const c10::cuda::CUDAGuard guard(maps.device());
  const at::Tensor x = Nhwc(maps);
  const at::Tensor w = weight.contiguous();
  const at::Tensor b = bias.contiguous();
  const at::Tensor pooled = EmptyMaps(x, x.size(2) / 2, x.size(3) / 2);
  const at::Tensor mean = at::empty({x.size(0), x.size(1)}, x.options());
  const at::Tensor rstd = at::empty_like(mean);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "norm_relu_pool", [&] {
    CheckLaunch(
        Launch(PlaneForward<scalar_t>{ShapeOf(x), static_cast<scalar_t>(eps),
                                      x.const_data_ptr<scalar_t>(),
                                      w.const_data_ptr<scalar_t>(),
                                      b.const_data_ptr<scalar_t>(),
                                      pooled.mutable_data_ptr<scalar_t>(),
                                      mean.mutable_data_ptr<scalar_t>(),
                                      rstd.mutable_data_ptr<scalar_t>()},
               Stream()),
        "norm_relu_pool");
  });
  return {pooled, mean, rstd};
}

Three NormReluPoolBackward(const at::Tensor& gradient, const at::Tensor& maps,
                           const at::Tensor& mean, const at::Tensor& rstd,
                           const at::Tensor& weight, const at::Tensor& bias) {
  const c10::cuda::CUDAGuard guard(maps.device());
  const at::Tensor g = Nhwc(gradient);
  const at::Tensor x = Nhwc(maps);
  const at::Tensor m = mean.contiguous();
  const at::Tensor r = rstd.contiguous();
  const at::Tensor w = weight.contiguous();
  const at::Tensor b = bias.contiguous();
  const at::Tensor by_x = EmptyMaps(x, x.size(2), x.size(3));
  const at::Tensor by_w = at::empty_like(m);
  const at::Tensor by_b = at::empty_like(m);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "norm_relu_pool_backward", [&] {
    CheckLaunch(
        Launch(
            PlaneBackward<scalar_t>{
                ShapeOf(x), g.const_data_ptr<scalar_t>(),
                x.const_data_ptr<scalar_t>(), m.const_data_ptr<scalar_t>(),
                r.const_data_ptr<scalar_t>(), w.const_data_ptr<scalar_t>(),
                b.const_data_ptr<scalar_t>(), by_x.mutable_data_ptr<scalar_t>(),
                by_w.mutable_data_ptr<scalar_t>(),
                by_b.mutable_data_ptr<scalar_t>()},
            Stream()),
        "norm_relu_pool_backward");
  });
  return {by_x, by_w.sum(0), by_b.sum(0)};
}

Three NormReluPoolDoubleBackward(const OptionalTensor& maps_cotangent,
                                 const OptionalTensor& weight_cotangent,
                                 const OptionalTensor& bias_cotangent,
                                 const at::Tensor& gradient,
                                 const at::Tensor& maps, const at::Tensor& mean,
                                 const at::Tensor& rstd,
                                 const at::Tensor& weight,
                                 const at::Tensor& bias) {
  const c10::cuda::CUDAGuard guard(maps.device());
  const auto dense = [](const OptionalTensor& tensor, bool nhwc) {
    if (!tensor || !tensor->defined()) return at::Tensor();
    return nhwc ? Nhwc(*tensor) : tensor->contiguous();
  };
  const at::Tensor of_x = dense(maps_cotangent, true);
  const at::Tensor of_w = dense(weight_cotangent, false);
  const at::Tensor of_b = dense(bias_cotangent, false);
  const at::Tensor g = Nhwc(gradient);
  const at::Tensor x = Nhwc(maps);
  const at::Tensor m = mean.contiguous();
  const at::Tensor r = rstd.contiguous();
  const at::Tensor w = weight.contiguous();
  const at::Tensor b = bias.contiguous();
  const at::Tensor by_g = EmptyMaps(x, x.size(2) / 2, x.size(3) / 2);
  const at::Tensor by_x = EmptyMaps(x, x.size(2), x.size(3));
  const at::Tensor by_w = at::empty_like(m);
  AT_DISPATCH_FLOATING_TYPES(
      x.scalar_type(), "norm_relu_pool_double_backward", [&] {
        const auto pointer = [](const at::Tensor& tensor) {
          return tensor.defined() ? tensor.const_data_ptr<scalar_t>() : nullptr;
        };
        CheckLaunch(
            Launch(
                PlaneDoubleBackward<scalar_t>{
                    ShapeOf(x), pointer(of_x), pointer(of_w), pointer(of_b),
                    g.const_data_ptr<scalar_t>(), x.const_data_ptr<scalar_t>(),
                    m.const_data_ptr<scalar_t>(), r.const_data_ptr<scalar_t>(),
                    w.const_data_ptr<scalar_t>(), b.const_data_ptr<scalar_t>(),
                    by_g.mutable_data_ptr<scalar_t>(),
                    by_x.mutable_data_ptr<scalar_t>(),
                    by_w.mutable_data_ptr<scalar_t>()},
                Stream()),
            "norm_relu_pool_double_backward");
      });
  return {by_g, by_x, by_w.sum(0)};
}

// Indices outside are the caller's fault: looking at them would stop the
// device.
at::Tensor GatherBytes(const at::Tensor& bytes, const at::Tensor& tables,
                       const at::Tensor& indices) {
  TORCH_CHECK(
      bytes.device() == tables.device() && bytes.device() == indices.device(),
      "bytes, tables and indices lie on different devices");
  const c10::cuda::CUDAGuard guard(bytes.device());
  const at::Tensor from = bytes.contiguous();
  const at::Tensor values = tables.contiguous();
  const at::Tensor rows = indices.contiguous();
  const at::Tensor images =
      at::empty({rows.size(0), from.size(1), from.size(2), from.size(3)},
                values.options());
  CheckLaunch(LaunchGatherBytes(from.const_data_ptr<uint8_t>(),
                                values.const_data_ptr<float>(),
                                rows.const_data_ptr<int64_t>(), rows.size(0),
                                from.size(1), from.size(2) * from.size(3),
                                images.mutable_data_ptr<float>(), Stream()),
              "gather_bytes");
  return images;
}

at::Tensor Augment(const at::Tensor& images, const at::Tensor& parameters,
                   int64_t plan) {
  const c10::cuda::CUDAGuard guard(images.device());
  const at::Tensor augmented = EmptyAugmented(images);
  AT_DISPATCH_FLOATING_TYPES(images.scalar_type(), "augment", [&] {
    CheckLaunch(LaunchAugment(AugmentCallOf<scalar_t>(images, parameters, plan,
                                                      augmented),
                              Stream()),
                "augment");
  });
  return augmented;
}

at::Tensor AugmentAdjoint(const at::Tensor& gradient,
                          const at::Tensor& parameters, int64_t plan) {
  const c10::cuda::CUDAGuard guard(gradient.device());
  const at::Tensor pictures = EmptyPictures(gradient);
  AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "augment_adjoint", [&] {
    CheckLaunch(LaunchAugmentAdjoint(AugmentCallOf<scalar_t>(
                                         gradient, parameters, plan, pictures),
                                     Stream()),
                "augment_adjoint");
  });
  return pictures;
}

}  // namespace

TORCH_LIBRARY_IMPL(dasm, CUDA, library) {
  library.impl("norm_relu_pool", NormReluPool);
  library.impl("norm_relu_pool_backward", NormReluPoolBackward);
  library.impl("norm_relu_pool_double_backward", NormReluPoolDoubleBackward);
  library.impl("gather_bytes", GatherBytes);
  library.impl("augment", Augment);
  library.impl("augment_adjoint", AugmentAdjoint);
}

}  // namespace dasm
