#include "worker/engine/task/match_trajectories.h"

#include "absl/status/status.h"

namespace dasm {

absl::StatusOr<TaskOutcome> MatchTrajectories(const MatchTrajectoriesParameters&, const TaskContext&) {
  return absl::UnimplementedError("match_trajectories");
}

}  // namespace dasm
