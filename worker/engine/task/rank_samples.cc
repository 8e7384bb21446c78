#include "worker/engine/task/rank_samples.h"

#include "absl/status/status.h"

namespace dasm {

absl::StatusOr<TaskOutcome> RankSamples(const RankSamplesParameters&, const TaskContext&) {
  return absl::UnimplementedError("rank_samples");
}

}  // namespace dasm
