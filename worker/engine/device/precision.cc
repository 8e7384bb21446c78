#include "worker/engine/device/precision.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {
namespace {

constexpr char kField[] = "execution.precision";

std::atomic<DevicePrecision> applied = DevicePrecision::kFp32;

// The setters below are the only ones that keep both of torch's families of
// switches in step, and they warn that one family will go.
class Silent final : public c10::WarningHandler {
 public:
  void process(const c10::Warning& warning) override {}
};

}  // namespace

absl::StatusOr<DevicePrecision> ParsePrecision(std::string_view name) {
  if (name == "fp32") return DevicePrecision::kFp32;
  if (name == "tf32") return DevicePrecision::kTf32;
  if (name == "bf16") return DevicePrecision::kBf16;
  return InvalidField(kField,
                      absl::StrCat("\"", std::string(name),
                                   "\" is none of fp32, tf32 and bf16"));
}

absl::Status CheckPrecision(std::string_view name, at::Device device) {
  const absl::StatusOr<DevicePrecision> precision = ParsePrecision(name);
  if (!precision.ok()) return precision.status();
  if (device.is_cpu() && *precision != DevicePrecision::kFp32) {
    return InvalidField(kField, absl::StrCat(std::string(name),
                                             " needs a device; a CPU computes "
                                             "in fp32"));
  }
  return absl::OkStatus();
}

absl::Status ApplyPrecision(DevicePrecision precision) {
  const bool tf32 = precision == DevicePrecision::kTf32;
  at::Context& context = at::globalContext();
  Silent silent;
  c10::WarningUtils::WarningHandlerGuard guard(&silent);
  context.setAllowTF32CuBLAS(tf32);
  context.setAllowTF32CuDNN(tf32);
  context.setBenchmarkCuDNN(false);
  context.setDeterministicCuDNN(true);
  if (context.allowTF32CuBLAS() != tf32 ||
      context.allowTF32CuDNN(at::Float32Op::CONV) != tf32) {
    return absl::InternalError(
        "torch's switches for TF32 do not say what was set; unset "
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE and NVIDIA_TF32_OVERRIDE");
  }
  applied = precision;
  return absl::OkStatus();
}

DevicePrecision AppliedPrecision() { return applied; }

bool ConvolvesInBf16(const at::Tensor& maps) {
  return !maps.is_cpu() && maps.scalar_type() == at::kFloat &&
         AppliedPrecision() == DevicePrecision::kBf16;
}

}  // namespace dasm
