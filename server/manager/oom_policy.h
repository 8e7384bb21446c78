// What a distill_segment task that ran out of memory should have been: the
// micro-batch that fits. Pure functions.
#ifndef DASM_SERVER_MANAGER_OOM_POLICY_H_
#define DASM_SERVER_MANAGER_OOM_POLICY_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "server/job/records.h"

namespace dasm {

// The number behind "micro_batch=" in a runner's message, the contract by which
// it says what would have fit; 0 when it does not.
int MicroBatchNamed(std::string_view message);

// Images of a class that fit into one kernel call, below what the action used:
// what the runner named, else what the memory prediction (planner/task_cost.h)
// leaves of `slot_memory_bytes` (0: not known), but at most half of what was
// used, since the prediction said that it would fit. A power of two unless the
// runner named it, so that machines of nearly equal memory agree on a key.
// 0: nothing smaller would help, because the action's kind has no micro-batch,
// it was one image already, or batch norm couples the images.
int MicroBatchThatFits(const ActionRecord& action, std::string_view message,
                       int64_t slot_memory_bytes);

// Canonical parameters of a distill_segment task with that micro-batch.
std::string WithMicroBatch(const std::string& parameters_json, int micro_batch);

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_OOM_POLICY_H_
