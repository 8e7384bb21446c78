// Tensors for the kernels of augmentation_pixels.h: what the operators of
// augment_images.h check, allocate and hand over on every device.
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_AUGMENT_CALL_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_AUGMENT_CALL_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <type_traits>

#include "worker/engine/augmentation/augmentation_pixels.h"

namespace dasm {

template <typename T>
Pixels<T> PixelsOf(const at::Tensor& images) {
  Pixels<T> pixels;
  if constexpr (std::is_const_v<T>) {
    pixels.data = images.const_data_ptr<std::remove_const_t<T>>();
  } else {
    pixels.data = images.mutable_data_ptr<T>();
  }
  pixels.image = images.stride(0);
  pixels.channel = images.stride(1);
  pixels.row = images.stride(2);
  pixels.column = images.stride(3);
  return pixels;
}

// From `from` [N, C, H, W] to `to` of the same shape; `parameters` float64
// [kAugmentationRows, 1 or N], any strides, on the same device. Else
// c10::Error.
template <typename T>
AugmentCall<T> AugmentCallOf(const at::Tensor& from,
                             const at::Tensor& parameters, int64_t plan,
                             const at::Tensor& to) {
  TORCH_CHECK(from.dim() == 4, "images are [N, C, H, W], not ", from.sizes());
  TORCH_CHECK(
      parameters.scalar_type() == at::kDouble && parameters.dim() == 2 &&
          parameters.size(0) == kAugmentationRows &&
          (parameters.size(1) == 1 || parameters.size(1) == from.size(0)),
      "the parameters of ", from.size(0), " augmented images are float64 [",
      int{kAugmentationRows}, ", 1 or that many], not ",
      parameters.scalar_type(), " ", parameters.sizes());
  TORCH_CHECK(parameters.device() == from.device(), "images lie on ",
              from.device(), ", their augmentation on ", parameters.device());
  AugmentCall<T> call;
  call.plan = plan;
  call.images = static_cast<int>(from.size(0));
  call.channels = static_cast<int>(from.size(1));
  call.height = static_cast<int>(from.size(2));
  call.width = static_cast<int>(from.size(3));
  call.parameters = parameters.const_data_ptr<double>();
  call.parameter_row = parameters.stride(0);
  call.parameter_image = parameters.size(1) == 1 ? 0 : parameters.stride(1);
  call.from = PixelsOf<const T>(from);
  call.to = PixelsOf<T>(to);
  return call;
}

// Augmented images, channels-last as the networks want them.
inline at::Tensor EmptyAugmented(const at::Tensor& images) {
  return at::empty(images.sizes(), images.options(),
                   at::MemoryFormat::ChannelsLast);
}
// The gradient of the pictures, dense as pixels are stored.
inline at::Tensor EmptyPictures(const at::Tensor& gradient) {
  return at::empty(gradient.sizes(), gradient.options());
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_AUGMENT_CALL_H_
