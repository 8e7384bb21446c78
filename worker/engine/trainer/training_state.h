// All that a training carries from step to step; a checkpoint of it resumes bit
// for bit.
#ifndef DASM_WORKER_ENGINE_TRAINER_TRAINING_STATE_H_
#define DASM_WORKER_ENGINE_TRAINER_TRAINING_STATE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "common/artifact/safetensors.h"
#include "worker/engine/network/network.h"

namespace dasm {

struct TrainingState {
  at::Tensor parameters;  // f32 [P]
  at::Tensor buffers;     // f32 [B]
  at::Tensor momentum;    // f32 [P]
  int64_t step = 0;       // steps done

  // Host copies named "<prefix>parameters", "<prefix>buffers",
  // "<prefix>momentum" (f32) and "<prefix>step" (i64 [1]); own their memory.
  std::map<std::string, at::Tensor> ToTensors(const std::string& prefix) const;
  TrainingState Clone() const;
};

// Reads what ToTensors named. INVALID_ARGUMENT when a tensor is missing or
// another network's.
absl::StatusOr<TrainingState> LoadTrainingState(const SafetensorsFile& file,
                                                const std::string& prefix,
                                                const Network& network,
                                                at::Device device = at::kCPU);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TRAINER_TRAINING_STATE_H_
