// The student's learned learning rate: a number, SGD with momentum on it, and
// what keeps it above 0.
//
//   plain    as published; a step may make it 0 or negative, which ends the run
//   clamped  after a step at least a hundredth of its first value
//   log      its logarithm is learned: d/dlog(a) = a d/da, always above 0
#ifndef DASM_WORKER_ENGINE_UPDATE_STEP_SIZE_H_
#define DASM_WORKER_ENGINE_UPDATE_STEP_SIZE_H_

#include "absl/status/status.h"
#include "common/spec/job_spec.h"

namespace dasm {

class StepSize {
 public:
  struct State {
    double value = 0;
    double velocity = 0;
  };
  // Reads step_size and what begins with it.
  explicit StepSize(const TrajectoryMatchingSpec& spec);

  State Start() const { return {start_, 0}; }
  // NUMERIC (failure class), naming the remedy: the new value is not a finite
  // number above 0; `state` is then left as it was.
  absl::Status Step(double gradient, State* state) const;

 private:
  const StepSizeForm form_;
  const double start_;
  const double learning_rate_;
  const double momentum_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_UPDATE_STEP_SIZE_H_
