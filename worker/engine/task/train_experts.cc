#include "worker/engine/task/train_experts.h"

#include "absl/status/status.h"

namespace dasm {

absl::StatusOr<TaskOutcome> TrainExperts(const TrainExpertsParameters&, const TaskContext&) {
  return absl::UnimplementedError("train_experts");
}

}  // namespace dasm
