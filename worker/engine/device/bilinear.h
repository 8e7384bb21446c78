// Bilinear resizing that may be differentiated on a device. Torch's own is
// taken on the CPU; on a device its derivatives add with atomics and are an
// error where deterministic algorithms are asked for, as the engine does. There
// the same is made of gathers, whose derivatives have an order.
//
// Shapes: images [N, C, H, W], any floating dtype. Nothing is read back, and no
// host tensor is made: steps that call them may be recorded (step_graph.h).
#ifndef DASM_WORKER_ENGINE_DEVICE_BILINEAR_H_
#define DASM_WORKER_ENGINE_DEVICE_BILINEAR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dasm {

// As at::upsample_bilinear2d without aligned corners.
at::Tensor ResizeBilinear(const at::Tensor& images, int64_t height,
                          int64_t width);
// What it is on a device.
at::Tensor ResizeByGathers(const at::Tensor& images, int64_t height,
                           int64_t width);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_BILINEAR_H_
