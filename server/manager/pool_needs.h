// What a job asks of the pool that it runs in: the workers of one numerics
// class. Pure functions.
#ifndef DASM_SERVER_MANAGER_POOL_NEEDS_H_
#define DASM_SERVER_MANAGER_POOL_NEEDS_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/spec/job_spec.h"

namespace dasm {

struct PoolNeeds {
  int ranks = 1;                   // slots at once
  std::string precision = "fp32";  // "tf32" and "bf16" need a device
};
PoolNeeds NeedsOf(const JobSpec& spec);

// A class of workers with a device: what does not begin with "cpu-".
bool IsDeviceClass(std::string_view numerics_class);

// Whether a pool of `slots` slots could ever run it.
bool CanRun(const PoolNeeds& needs, std::string_view numerics_class, int slots);

// FAILED_PRECONDITION (NO_SUCH_POOL) naming the field, what there is, and the
// remedy, unless one of `pools` (slots by class; none: OK) can run it.
absl::Status CheckPools(const PoolNeeds& needs,
                        const std::map<std::string, int>& pools);

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_POOL_NEEDS_H_
