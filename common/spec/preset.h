// Presets: published table rows as specs. Names:
//   {dasm-idc|idc}/{mnist|fashion-mnist|svhn|cifar-10|cifar-100}/ipc{N}
// with N in 1, 10, 50 (CIFAR-10 also 100, 200, 500, 1000), then optionally
// /strict (DASM only: V1, mix 1, no trim), /factor1, and a budget profile:
// /paper (the default), /fast, /quick (the only one meant for a CPU).
#ifndef DASM_COMMON_SPEC_PRESET_H_
#define DASM_COMMON_SPEC_PRESET_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

struct PresetInfo {
  std::string name;
  std::string summary;
  std::string source;  // the table the numbers come from
};

std::vector<PresetInfo> AllPresets();
// INVALID_ARGUMENT naming field "preset" and the nearest name.
absl::StatusOr<v1::JobSpec> FindPreset(std::string_view name);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_PRESET_H_
