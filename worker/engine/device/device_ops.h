// Operators of torch's dispatcher that a device's plug-in implements for its
// tensors, beside those of norm_relu_pool.h and augment_images.h. Defined here,
// with the host's implementation.
#ifndef DASM_WORKER_ENGINE_DEVICE_DEVICE_OPS_H_
#define DASM_WORKER_ENGINE_DEVICE_DEVICE_OPS_H_

#include <ATen/core/Tensor.h>

namespace dasm {

// dasm::gather_bytes. bytes u8 [M, C, H, W], tables f32 [C, 256], indices i64
// [n], all on one device, indices in [0, M). Returns f32 [n, C, H, W]: element
// (i, c, y, x) is tables[c][bytes[indices[i], c, y, x]]. Not differentiable.
at::Tensor GatherBytes(const at::Tensor& bytes, const at::Tensor& tables,
                       const at::Tensor& indices);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_DEVICE_OPS_H_
