#include "worker/engine/task/whiten_dataset.h"

#include "absl/status/status.h"

namespace dasm {

absl::StatusOr<TaskOutcome> WhitenDataset(const WhitenDatasetParameters&, const TaskContext&) {
  return absl::UnimplementedError("whiten_dataset");
}

}  // namespace dasm
