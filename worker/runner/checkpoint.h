// Checkpoint files of a task: the engine's tensors in a safetensors file whose
// metadata says of which action, after which step, and after how many seconds
// of computing over all attempts.
#ifndef DASM_WORKER_RUNNER_CHECKPOINT_H_
#define DASM_WORKER_RUNNER_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/artifact/safetensors.h"

namespace dasm {

struct CheckpointInfo {
  std::string action;  // key
  int64_t step = 0;
  double seconds = 0;
};

// "step-000000001200.safetensors": byte order is step order.
std::string CheckpointFileName(int64_t step);

// Complete and synced when OK: temporary name, fsync, rename, fsync of the
// folder.
absl::Status WriteCheckpointFile(
    const std::string& path, const CheckpointInfo& info,
    const std::map<std::string, TensorView>& tensors);

// INVALID_ARGUMENT when the file is malformed or of another action than
// `action`.
absl::StatusOr<CheckpointInfo> ReadCheckpointInfo(const std::string& path,
                                                  const std::string& action);

// Removes all but the two newest of `folder`. What goes on from a checkpoint
// may still be reading the newest, and its upload the one before.
absl::Status RemoveOldCheckpoints(const std::string& folder);

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_CHECKPOINT_H_
