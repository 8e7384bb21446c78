// The largest group that fits a device's memory, by trying.
#ifndef DASM_WORKER_ENGINE_DEVICE_FITTING_GROUP_H_
#define DASM_WORKER_ENGINE_DEVICE_FITTING_GROUP_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"

namespace dasm {

// Below `failed`, which did not fit: halves it until `fits` says OK. `fits`
// runs a step with groups of that many images; failure class OOM_DEVICE means
// that it does not fit, another error ends the search. 0 where not even one
// image fits or an error came.
int64_t LargestFittingGroup(int64_t failed,
                            const std::function<absl::Status(int64_t)>& fits);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_FITTING_GROUP_H_
