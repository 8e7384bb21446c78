// Which training images an expert sees in an epoch: all of them, PAD's easy
// ones first (Li et al. 2024, with the fractions for classes of any size, where
// the released code has those of 5,000 images), or a pool and as many others.
//
// Determinism: pure functions; draws are keyed by seed, epoch and class.
#ifndef DASM_WORKER_ENGINE_TEACHER_DATA_SCHEDULE_H_
#define DASM_WORKER_ENGINE_TEACHER_DATA_SCHEDULE_H_

#include <cstdint>
#include <vector>

#include "common/base/random_stream.h"
#include "common/spec/job_spec.h"

namespace dasm {

// Image numbers by class.
using ClassImages = std::vector<std::vector<int64_t>>;

// Images [begin, end) of a class that is ordered from easy to hard.
struct ScheduledRange {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const ScheduledRange&) const = default;
};

// Of a class of `images` in 0-based `epoch` of `epochs`. The beginning is
//   floor(images * share removed), in epochs after a removal's after_epoch;
//   gradual: the share grows linearly from after_epoch, where it is that of
//   the removal before (0 before the first), to the next removal's after_epoch
//   or, for the last one, the last epoch
// and the end
//   floor(images * min(1, initial + (1 - initial) * epoch / growth_epochs)).
ScheduledRange ScheduleOf(const DataScheduleSpec& schedule, int epoch,
                          int epochs, int64_t images);

// The images of an epoch, class after class, not shuffled. `ranked`: each class
// from easy to hard.
std::vector<int64_t> ScheduledImages(const DataScheduleSpec& schedule,
                                     int epoch, int epochs,
                                     const ClassImages& ranked);

// All of the pool and as many other images of each class, or all others where
// there are fewer, drawn for this epoch from stream.At(epoch, class).
std::vector<int64_t> PoolImages(const ClassImages& pool,
                                const ClassImages& others,
                                const RandomStream& stream, int epoch);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TEACHER_DATA_SCHEDULE_H_
