#include "server/manager/pool_needs.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {

PoolNeeds NeedsOf(const JobSpec& spec) {
  // An evaluate-only job has no gang.
  return {.ranks = spec.synthetic_set.has_value() ? 1 : spec.resources.ranks,
          .precision = spec.execution.precision};
}

bool IsDeviceClass(std::string_view numerics_class) {
  return !absl::StartsWith(std::string(numerics_class), "cpu-");
}

bool CanRun(const PoolNeeds& needs, std::string_view numerics_class,
            int slots) {
  return slots >= needs.ranks &&
         (needs.precision == "fp32" || IsDeviceClass(numerics_class));
}

absl::Status CheckPools(const PoolNeeds& needs,
                        const std::map<std::string, int>& pools) {
  bool device = false;
  std::string largest;
  int most = -1;
  for (const auto& [numerics_class, slots] : pools) {
    if (CanRun(needs, numerics_class, slots)) return absl::OkStatus();
    if (IsDeviceClass(numerics_class)) {
      device = true;
    } else if (needs.precision != "fp32") {
      continue;
    }
    if (slots > most) {
      most = slots;
      largest = numerics_class;
    }
  }
  if (pools.empty()) return absl::OkStatus();
  if (needs.precision != "fp32" && !device) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            needs.precision, " needs workers with a device, and none of the ",
            pools.size(),
            pools.size() == 1 ? " pool has one" : " pools has one",
            ": use fp32, or start a worker on a machine with a GPU first")),
        "NO_SUCH_POOL", "execution.precision");
  }
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          needs.ranks, " ranks never fit: the largest pool, ", largest,
          ", has ", most, most == 1 ? " slot" : " slots",
          "; ask for at most that many, or start more workers first")),
      "NO_SUCH_POOL", "resources.ranks");
}

}  // namespace dasm
