#include "worker/engine/device/device_ops.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace dasm {
namespace {

at::Tensor GatherBytesCpu(const at::Tensor& bytes, const at::Tensor& tables,
                          const at::Tensor& indices) {
  const at::Tensor from = bytes.contiguous();
  const at::Tensor values = tables.contiguous();
  const at::Tensor rows = indices.contiguous();
  const int64_t channels = from.size(1);
  const int64_t plane = from.size(2) * from.size(3);
  at::Tensor images = at::empty(
      {rows.size(0), channels, from.size(2), from.size(3)}, values.options());
  const uint8_t* source = from.const_data_ptr<uint8_t>();
  const float* table = values.const_data_ptr<float>();
  const int64_t* row = rows.const_data_ptr<int64_t>();
  float* to = images.mutable_data_ptr<float>();
  for (int64_t i = 0; i < rows.size(0); ++i) {
    TORCH_CHECK_INDEX(row[i] >= 0 && row[i] < from.size(0), "image ", row[i],
                      " of ", from.size(0));
    const uint8_t* byte = source + row[i] * channels * plane;
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < plane; ++p) *to++ = table[c * 256 + *byte++];
    }
  }
  return images;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(dasm, library) {
  library.def(
      "gather_bytes(Tensor bytes, Tensor tables, Tensor indices) -> Tensor");
}

TORCH_LIBRARY_IMPL(dasm, CPU, library) {
  library.impl("gather_bytes", GatherBytesCpu);
}

at::Tensor GatherBytes(const at::Tensor& bytes, const at::Tensor& tables,
                       const at::Tensor& indices) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("dasm::gather_bytes", "")
                             .typed<decltype(GatherBytesCpu)>();
  return op.call(bytes, tables, indices);
}

}  // namespace dasm
