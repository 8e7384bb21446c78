// The host's kernels of augmentation_pixels.h, on plain pointers.
//
// Numerics: T is float or double. An image is computed alone and its additions
//   have one order, whatever its memory format, without contraction: the same
//   bits in every batch.
// Threads: pure; one thread each call.
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_KERNEL_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_KERNEL_H_

#include "worker/engine/augmentation/augmentation_pixels.h"

namespace dasm {

// call.to = the augmented images call.from.
template <typename T>
void Augment(const AugmentCall<T>& call);
// call.to = the adjoint of its linear part at call.from.
template <typename T>
void AugmentAdjoint(const AugmentCall<T>& call);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_KERNEL_H_
