// Checkpoints of the long kinds of task: named tensors plus what they are a
// checkpoint of.
#ifndef DASM_WORKER_ENGINE_TASK_CHECKPOINT_H_
#define DASM_WORKER_ENGINE_TASK_CHECKPOINT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/artifact/safetensors.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// Hands the state after `step` steps to the observer of the rank in charge.
// Called by all ranks with the state each has; nothing is written, and the
// checkpoint before stays the last good one, when
//   NUMERIC   (failure class) a value is not finite
//   INTERNAL  the ranks' states differ
// Also the errors of the collective and of the observer. `finished`: host
// tensors that only the rank in charge has, such as rows of an output; stored
// with the others, not compared.
absl::Status SaveCheckpoint(
    const TaskContext& context, int64_t step,
    const std::map<std::string, at::Tensor>& tensors,
    const std::map<std::string, at::Tensor>& finished = {});

// The earlier attempt's checkpoint, null when there is none. INVALID_ARGUMENT
// when it is of another action or malformed.
absl::StatusOr<std::unique_ptr<SafetensorsFile>> OpenCheckpoint(
    const TaskContext& context);

// Rank 0's answer to Poll, on every rank.
absl::StatusOr<TaskObserver::Wish> PollTogether(const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_CHECKPOINT_H_
