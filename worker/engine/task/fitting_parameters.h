// What to tell somebody whose task did not fit a device: the groups that do,
// found by running one step with smaller and smaller ones.
#ifndef DASM_WORKER_ENGINE_TASK_FITTING_PARAMETERS_H_
#define DASM_WORKER_ENGINE_TASK_FITTING_PARAMETERS_H_

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/task/task.h"

namespace dasm {

// One sentence. `run` runs one step; OK or PREEMPTED (failure class) means that
// it fits.
std::string FittingGroupAdvice(
    const TaskParameters& parameters,
    const std::function<absl::Status(const TaskParameters&)>& run);

// Hears nothing and stops a task after its first step.
class OneStepObserver final : public TaskObserver {
 public:
  void Progress(int64_t, int64_t, double, std::string_view) override {}
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override { return polls_++ == 0 ? Wish::kNone : Wish::kStop; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }

 private:
  int polls_ = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_FITTING_PARAMETERS_H_
