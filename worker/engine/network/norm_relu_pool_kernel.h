// The arithmetic of NormReluPool (norm_relu_pool.h) on the host, on plain
// pointers.
//
// Shapes: maps are channels-last, [images, height, width, channels], pooled
//   ones [images, height / 2, width / 2, channels]; `channels` is a multiple of
//   ChannelMultiple<T>() (the caller pads). weight and bias are [channels];
//   mean and rstd, per plane, [images, channels]. Nothing overlaps; no
//   alignment is asked for.
// Numerics: T is float or double. A plane (an image's channel) is computed
//   alone and its additions have one order, without contraction: the same bits
//   on every instruction set and in every batch.
// Threads: pure; one thread each call.
#ifndef DASM_WORKER_ENGINE_NETWORK_NORM_RELU_POOL_KERNEL_H_
#define DASM_WORKER_ENGINE_NETWORK_NORM_RELU_POOL_KERNEL_H_

#include <cstdint>

namespace dasm {

// Which instructions the kernels may use.
enum class VectorWidth { k16Bytes, kAvx2, kAvx512 };

template <typename T>
constexpr int64_t ChannelMultiple() {
  return 64 / static_cast<int64_t>(sizeof(T));
}

struct MapShape {
  int64_t images = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 0;
};

template <typename T>
struct NormReluPoolForward {
  MapShape shape;
  T eps = 0;
  const T* maps = nullptr;
  const T* weight = nullptr;
  const T* bias = nullptr;
  T* pooled = nullptr;
  // Of each plane: its mean, and 1 / sqrt(variance + eps).
  T* mean = nullptr;
  T* rstd = nullptr;
};

template <typename T>
struct NormReluPoolBackward {
  MapShape shape;
  const T* gradient = nullptr;  // of the pooled maps
  const T* maps = nullptr;
  const T* mean = nullptr;
  const T* rstd = nullptr;
  const T* weight = nullptr;
  const T* bias = nullptr;
  T* maps_gradient = nullptr;
  // Added to, image by image.
  T* weight_gradient = nullptr;
  T* bias_gradient = nullptr;
};

// The adjoint of the derivative of the backward map at the cotangents
// (maps_cotangent, weight_cotangent, bias_cotangent) of its results.
template <typename T>
struct NormReluPoolDoubleBackward {
  MapShape shape;
  const T* maps_cotangent = nullptr;
  const T* weight_cotangent = nullptr;
  const T* bias_cotangent = nullptr;
  const T* gradient = nullptr;
  const T* maps = nullptr;
  const T* mean = nullptr;
  const T* rstd = nullptr;
  const T* weight = nullptr;
  const T* bias = nullptr;
  T* gradient_gradient = nullptr;
  T* maps_gradient = nullptr;
  // Added to, image by image.
  T* weight_gradient = nullptr;
};

template <typename T>
void Compute(VectorWidth width, const NormReluPoolForward<T>& call);
template <typename T>
void Compute(VectorWidth width, const NormReluPoolBackward<T>& call);
template <typename T>
void Compute(VectorWidth width, const NormReluPoolDoubleBackward<T>& call);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_NORM_RELU_POOL_KERNEL_H_
