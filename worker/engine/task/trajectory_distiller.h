// A segment by trajectory matching, from its start to the sets that are
// delivered: TrajectoryLoop with checkpoints, snapshots, curves and probes.
//
//   every iteration          an iteration of the loop; a point of each series
//   every probe_interval     (and at the end) the loss at every start epoch of
//                            the held-out expert
//   every snapshot_interval  the set as it is, but not after the last iteration
//
// A checkpoint holds all of it, snapshots included, so that a run that was
// killed anywhere goes on with the same bits, wherever its output folder is.
// Snapshots are kept by the rank in charge and only stored: no rank hashes or
// compares them again, so that a checkpoint holds up the steps for its state
// alone.
#ifndef DASM_WORKER_ENGINE_TASK_TRAJECTORY_DISTILLER_H_
#define DASM_WORKER_ENGINE_TASK_TRAJECTORY_DISTILLER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/set_data.h"
#include "worker/engine/task/task_context.h"
#include "worker/engine/task/trajectory_curves.h"
#include "worker/engine/task/trajectory_loop.h"

namespace dasm {

class TrajectoryDistiller {
 public:
  struct Result {
    // By output name: segment, raw; on the rank in charge, which writes them,
    // also snapshot.I, raw_snapshot.I.
    std::map<std::string, SetData> sets;
    std::map<std::string, at::Tensor> curves;
    int64_t iterations = 0;
    int64_t skipped = 0;
    double final_loss = 0;
    double step_size = 0;
    double label_entropy = 0;  // with soft labels
  };

  // Borrows; `held_out` may be null.
  TrajectoryDistiller(const TaskContext* context,
                      const TrajectoryMatchingSpec& spec, int64_t layers,
                      const TrajectoryLoop* loop, const ExpertFile* held_out);

  // From `start` or the context's checkpoint to the end.
  //   NUMERIC           (failure class) see TrajectoryLoop::Step; the state
  //                     before it is checkpointed
  //   PREEMPTED         (failure class) after a stop that was asked for
  //   INVALID_ARGUMENT  the checkpoint is another segment's
  absl::StatusOr<Result> Run(const SetData& start);

 private:
  absl::StatusOr<TrajectoryState> Resume(const SetData& start);
  absl::Status Save(const TrajectoryState& state) const;
  absl::Status ProbeIfDue(const TrajectoryState& state);
  void KeepSnapshot(const TrajectoryState& state);
  void Report(int64_t iteration, const TrajectoryFigures& figures) const;
  Result Finish(const SetData& start, const TrajectoryState& state) const;

  const TaskContext& context_;
  const TrajectoryMatchingSpec& spec_;
  const TrajectoryLoop& loop_;
  const ExpertFile* const held_out_;
  TrajectoryCurves curves_;
  // "snapshot.500.pixels", ...: on the host, of the rank in charge.
  std::map<std::string, at::Tensor> snapshots_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAJECTORY_DISTILLER_H_
