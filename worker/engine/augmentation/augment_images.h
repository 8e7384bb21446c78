// Augmentation as one operator: an affine map of the images
// (augmentation_pixels.h) and its adjoint. Each is the other's derivative, so
// that both may be differentiated any number of times.
//
// Shapes: images [N, C, H, W], float or double, any strides; parameters
//   AugmentationDraw::Parameters(), float64 [11, 1 or N] on their device;
//   results of the images' shape.
// Numerics: an image does not depend on its batch. On the host the additions
//   have one order; a device's kernels gather, so that theirs have one too.
// Devices: two operators of torch's dispatcher, defined here and implemented
//   here for the CPU, which a plug-in implements for its device:
//     dasm::augment, dasm::augment_adjoint
//   `plan` is made of AugmentationBit. Nothing is read back, and no host tensor
//   is made: steps that call them may be recorded (step_graph.h).
// Errors: c10::Error.
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_AUGMENT_IMAGES_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_AUGMENT_IMAGES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace dasm {

at::Tensor AugmentImages(const at::Tensor& images, const at::Tensor& parameters,
                         int64_t plan);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_AUGMENT_IMAGES_H_
