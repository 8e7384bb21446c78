// A TaskObserver that remembers what it hears and wishes what it is told to.
#ifndef DASM_WORKER_ENGINE_TASK_FAKE_TASK_OBSERVER_H_
#define DASM_WORKER_ENGINE_TASK_FAKE_TASK_OBSERVER_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/artifact/safetensors.h"
#include "worker/engine/task/task.h"

namespace dasm {

class FakeTaskObserver final : public TaskObserver {
 public:
  // The wish of the how many-th Poll, from 0; kNone for others.
  std::map<int64_t, Wish> wishes;
  // What WriteCheckpoint answers.
  absl::Status checkpoint_status;

  int64_t polls = 0;
  std::map<std::string, std::vector<std::pair<int64_t, double>>> series;
  std::vector<std::pair<int64_t, int64_t>> progress;  // step, total
  // By step, as safetensors bytes.
  std::map<int64_t, std::string> checkpoints;

  void Progress(int64_t step, int64_t total_steps, double,
                std::string_view) override {
    progress.emplace_back(step, total_steps);
  }
  void Point(std::string_view name, int64_t step, double value) override {
    series[std::string(name)].emplace_back(step, value);
  }
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override {
    const auto found = wishes.find(polls++);
    return found == wishes.end() ? Wish::kNone : found->second;
  }
  absl::Status WriteCheckpoint(
      int64_t step, const std::map<std::string, TensorView>& tensors) override {
    if (checkpoint_status.ok()) {
      checkpoints[step] = SerializeSafetensors(tensors);
    }
    return checkpoint_status;
  }
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_FAKE_TASK_OBSERVER_H_
