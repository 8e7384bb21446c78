// Between the torch-free TensorView of a safetensors file and at::Tensor.
#ifndef DASM_WORKER_ENGINE_DATASET_TENSOR_VIEW_H_
#define DASM_WORKER_ENGINE_DATASET_TENSOR_VIEW_H_

#include <ATen/core/Tensor.h>

#include "common/artifact/safetensors.h"

namespace dasm {

// Borrows the bytes. A borrowed tensor has the file's alignment: copy it
// (CopyTensor) before arithmetic, or the bits may depend on the file.
at::Tensor BorrowTensor(const TensorView& view);
// An aligned copy on the host.
at::Tensor CopyTensor(const TensorView& view);
// Borrows `tensor`, which must be contiguous, on the host and of a dtype that
// safetensors has (else c10::Error).
TensorView ViewOf(const at::Tensor& tensor);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_TENSOR_VIEW_H_
