// What the benches of the engine share: Fashion-MNIST, IDC's published shape,
// and a watch on a task's steps.
#ifndef DASM_TESTS_BENCH_IDC_BENCH_H_
#define DASM_TESTS_BENCH_IDC_BENCH_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/spec/task_parameters.h"
#include "tests/bench/bench_process.h"
#include "worker/collective/collective.h"
#include "worker/engine/task/task.h"

namespace dasm::bench {

// Reads Fashion-MNIST below `data` into `file`, as prepare_dataset does.
void PrepareFashionMnist(const std::string& data, const std::string& file);

// One segment of `steps` matching steps of one init: width 128, 10 images a
// class, factor 2, `net_steps` network steps of 64 images between them.
DistillSegmentParameters Idc(int steps, int net_steps);

// Notes when each step ended.
class Stopwatch final : public TaskObserver {
 public:
  void Progress(int64_t, int64_t, double, std::string_view) override {
    marks_.push_back(Now());
  }
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override { return Wish::kNone; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }
  // Seconds of each step but the first, which warms up.
  std::vector<double> Intervals() const;
  double last() const { return marks_.empty() ? 0 : marks_.back(); }

 private:
  std::vector<double> marks_;
};

// Runs the task, each of `ranks` in a thread; the first one's outcome, which
// `observer` sees.
TaskOutcome RunRanks(const TaskParameters& parameters, const TaskFiles& files,
                     const std::vector<std::unique_ptr<Collective>>& ranks,
                     const RunOptions& options, TaskObserver* observer);

// Of the intervals of a task of Idc(steps + 2, 8), those that are a whole inner
// step, the 10-class pass and 8 network steps: the last step trains nothing.
std::vector<double> InnerSteps(std::vector<double> intervals);

}  // namespace dasm::bench

#endif  // DASM_TESTS_BENCH_IDC_BENCH_H_
