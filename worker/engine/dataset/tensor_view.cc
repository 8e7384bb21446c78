#include "worker/engine/dataset/tensor_view.h"

#include <ATen/ATen.h>

namespace dasm {
namespace {

at::ScalarType ScalarTypeOf(DType dtype) {
  switch (dtype) {
    case DType::kU8:
      return at::kByte;
    case DType::kI32:
      return at::kInt;
    case DType::kI64:
      return at::kLong;
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
  }
  TORCH_CHECK(false, "unknown dtype");
}

DType DTypeOf(at::ScalarType type) {
  for (DType dtype :
       {DType::kU8, DType::kI32, DType::kI64, DType::kF32, DType::kF64}) {
    if (ScalarTypeOf(dtype) == type) return dtype;
  }
  TORCH_CHECK(false, "safetensors files hold no ", at::toString(type));
}

}  // namespace

at::Tensor BorrowTensor(const TensorView& view) {
  return at::from_blob(const_cast<void*>(view.data), view.shape,
                       at::TensorOptions(ScalarTypeOf(view.dtype)));
}

at::Tensor CopyTensor(const TensorView& view) {
  return BorrowTensor(view).clone();
}

TensorView ViewOf(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_cpu() && tensor.is_contiguous(),
              "expected a contiguous tensor on the host");
  return {DTypeOf(tensor.scalar_type()), tensor.sizes().vec(),
          tensor.const_data_ptr()};
}

}  // namespace dasm
