// Runs the ranks of one process, a thread each, to the end of all of them.
#ifndef DASM_WORKER_RUNNER_RANK_THREADS_H_
#define DASM_WORKER_RUNNER_RANK_THREADS_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "worker/collective/collective.h"
#include "worker/engine/task/task.h"

namespace dasm {

// A rank that fails ends the others at their next call of the collective. One
// that makes none any more, because a kernel or a peer hangs, must not keep the
// process for ever.
struct RankWatchdog {
  // From the first error to the end of the last rank.
  absl::Duration grace = absl::Seconds(10);
  // Called from a thread of its own with the first error when a rank did not
  // come back; it should end the process. May be null.
  std::function<void(const absl::Status& cause)> on_hang;
};

// Of one rank, given its Collective. May throw: std::bad_alloc is OOM_HOST,
// anything else INTERNAL.
using RankFunction = std::function<absl::StatusOr<TaskOutcome>(Collective*)>;

// The outcome of the first of `ranks`, or the first error of any: those that
// follow from it are dropped, and the gang is aborted with it. The first rank
// runs on the calling thread.
absl::StatusOr<TaskOutcome> RunRanks(
    absl::Span<const std::unique_ptr<Collective>> ranks,
    const RankFunction& run, const RankWatchdog& watchdog);

// A call of `run` that does not throw, as RankFunction says.
absl::StatusOr<TaskOutcome> Guarded(
    const std::function<absl::StatusOr<TaskOutcome>()>& run);

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_RANK_THREADS_H_
