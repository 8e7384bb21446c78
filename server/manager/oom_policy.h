// What a task that ran out of memory should have been: the micro-batch that
// fits. Of a segment's task (distill_segment, match_trajectories) that is
// execution.micro_batch; of train_experts it is execution.train_group. Pure
// functions.
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

// The field of a job that has the micro-batch of such a task.
std::string MicroBatchField(std::string_view kind);

// Images (distill_segment: of a class) that fit into one kernel call, below
// what the action used:
// what the runner named, else what the memory prediction (planner/task_cost.h)
// leaves of `slot_memory_bytes` (0: not known), but at most half of what was
// used, since the prediction said that it would fit. A power of two unless the
// runner named it, so that machines of nearly equal memory agree on a key.
// 0: nothing smaller would help, because the action's kind has no micro-batch,
// it was one image already, batch norm couples the images, or the graphs of all
// student steps are kept.
int MicroBatchThatFits(const ActionRecord& action, std::string_view message,
                       int64_t slot_memory_bytes);

// Canonical parameters of a task with that micro-batch; its kind has one.
std::string WithMicroBatch(std::string_view kind,
                           const std::string& parameters_json, int micro_batch);

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_OOM_POLICY_H_
