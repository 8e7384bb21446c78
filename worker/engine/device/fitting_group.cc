#include "worker/engine/device/fitting_group.h"

#include "common/base/error.h"

namespace dasm {

int64_t LargestFittingGroup(int64_t failed,
                            const std::function<absl::Status(int64_t)>& fits) {
  for (int64_t group = failed / 2; group >= 1; group /= 2) {
    const absl::Status status = fits(group);
    if (status.ok()) return group;
    if (FailureClassOf(status) != FailureClass::kOomDevice) return 0;
  }
  return 0;
}

}  // namespace dasm
