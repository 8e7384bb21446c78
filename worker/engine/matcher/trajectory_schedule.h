// What an iteration of trajectory matching draws: which expert, from which
// epoch, and in which batches the student sees the synthetic images (MTT's
// loop, with DATM's growing range of start epochs).
//
// Pure functions of their arguments; `draw` counts the trajectories of a run
// from 0.
#ifndef DASM_WORKER_ENGINE_MATCHER_TRAJECTORY_SCHEDULE_H_
#define DASM_WORKER_ENGINE_MATCHER_TRAJECTORY_SCHEDULE_H_

#include <cstdint>
#include <vector>

#include "common/base/random_stream.h"
#include "common/spec/job_spec.h"

namespace dasm {

// The end, excluded, of the start epochs of an iteration (Guo et al. 2024):
// grows from start_epoch_initial to start_epoch_max over growth_iterations.
int CurrentStartEpochEnd(const TrajectoryMatchingSpec& spec, int64_t iteration);

// Uniform in [start_epoch_min, CurrentStartEpochEnd), from stream.At(a, b).
int DrawStartEpoch(const TrajectoryMatchingSpec& spec, int64_t iteration,
                   RandomSequence draws);

// Number of the expert, in [0, experts): all of them in a random order, then
// all in another one.
int64_t ExpertOfDraw(const RandomStream& stream, int64_t experts, int64_t draw);

// The rows of each of `steps` batches. A random permutation of all rows is cut
// into chunks of `batch` (the last may be short), which are taken from the back
// (the short one first); then comes the next permutation, from
// stream.At(draw, probe, its number). `batch` 0 or above `images`: all rows.
std::vector<std::vector<int64_t>> DrawBatches(const RandomStream& stream,
                                              uint32_t draw, uint32_t probe,
                                              int64_t images, int64_t batch,
                                              int steps);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_MATCHER_TRAJECTORY_SCHEDULE_H_
