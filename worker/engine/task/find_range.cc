#include "worker/engine/task/find_range.h"

#include "absl/status/status.h"

namespace dasm {

absl::StatusOr<TaskOutcome> FindRange(const FindRangeParameters&, const TaskContext&) {
  return absl::UnimplementedError("find_range");
}

}  // namespace dasm
