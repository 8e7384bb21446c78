// How a device computes: process-wide, since the settings of torch are. A
// runner runs one task, and the spec's execution.precision is part of its key.
#ifndef DASM_WORKER_ENGINE_DEVICE_PRECISION_H_
#define DASM_WORKER_ENGINE_DEVICE_PRECISION_H_

#include <ATen/core/Tensor.h>

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dasm {

enum class DevicePrecision {
  kFp32,  // strict: no TF32 anywhere
  kTf32,  // convolutions and matrix products
  kBf16,  // convolutions with bf16 operands and fp32 accumulation; fp32 else
};

// "fp32", "tf32", "bf16"; INVALID_ARGUMENT (field "execution.precision").
absl::StatusOr<DevicePrecision> ParsePrecision(std::string_view name);
// On "cpu" all but fp32 is INVALID_ARGUMENT.
absl::Status CheckPrecision(std::string_view name, at::Device device);

// Sets torch's switches for CUDA convolutions and matrix products and reads
// them back: INTERNAL where they do not say what was set. Switches off
// cuDNN's autotuning, whose choices differ from run to run.
absl::Status ApplyPrecision(DevicePrecision precision);
DevicePrecision AppliedPrecision();

// Whether a convolution of `maps` is to be computed in bf16: kBf16 is applied
// and they are fp32 on a device.
bool ConvolvesInBf16(const at::Tensor& maps);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_PRECISION_H_
