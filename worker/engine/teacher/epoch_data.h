// The batches of experts: which images an epoch has, and in which order an
// expert sees them. Every expert of a set has epochs of the same sizes, each in
// an order of its own.
//
// Determinism: an order is a pure function of the expert's seed and the epoch
// (streams "expert.order" and "expert.others"). Thread-safe.
#ifndef DASM_WORKER_ENGINE_TEACHER_EPOCH_DATA_H_
#define DASM_WORKER_ENGINE_TEACHER_EPOCH_DATA_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "common/spec/job_spec.h"
#include "worker/engine/teacher/data_schedule.h"

namespace dasm {

class EpochData {
 public:
  // By class.
  struct Images {
    ClassImages ranked;  // all, from easy to hard where there is a schedule
    ClassImages pool;    // empty: none; else the schedule has no effect
    ClassImages others;  // those that are not in the pool
  };
  EpochData(const ExpertTraining& training, Images images)
      : training_(training), images_(std::move(images)) {}

  // The last batch may be short.
  int64_t Batches(int epoch) const;
  int64_t TotalBatches() const;
  // A new permutation for each (seed, epoch).
  std::vector<int64_t> Order(uint64_t seed, int epoch) const;

 private:
  std::vector<int64_t> Chosen(uint64_t seed, int epoch) const;

  const ExpertTraining training_;
  const Images images_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TEACHER_EPOCH_DATA_H_
