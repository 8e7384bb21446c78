// The state of a trajectory loop as tensors of a checkpoint.
#ifndef DASM_WORKER_ENGINE_TASK_TRAJECTORY_STATE_H_
#define DASM_WORKER_ENGINE_TASK_TRAJECTORY_STATE_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "absl/status/status.h"
#include "common/artifact/safetensors.h"
#include "worker/engine/task/trajectory_loop.h"

namespace dasm {

// All of it; hard labels, which never change, are left out.
std::map<std::string, at::Tensor> TensorsOf(const TrajectoryState& state);

// Into what TrajectoryLoop::Begin of the same loop returned, where its tensors
// are. INVALID_ARGUMENT when the file is of another loop.
absl::Status LoadState(const SafetensorsFile& file, TrajectoryState* state);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAJECTORY_STATE_H_
