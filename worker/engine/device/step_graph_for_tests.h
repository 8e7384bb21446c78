// What recording does to steps, without a device: for tests of the loops that
// run them.
#ifndef DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_FOR_TESTS_H_
#define DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_FOR_TESTS_H_

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worker/engine/device/step_graph.h"

namespace dasm {

// Counts, on this thread and while it lives, the operators with which the host
// looks at a value of a tensor, or needs one to know a result's shape: each
// waits for a device, and no step with one can be recorded.
class HostReadCounter {
 public:
  HostReadCounter()
      : before_(count_),
        callback_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(&HostReadCounter::Count)
                .scopes({at::RecordScope::FUNCTION}))) {}
  ~HostReadCounter() { at::removeCallback(callback_); }
  HostReadCounter(const HostReadCounter&) = delete;
  HostReadCounter& operator=(const HostReadCounter&) = delete;

  int64_t reads() const { return count_ - before_; }

 private:
  static std::unique_ptr<at::ObserverContext> Count(
      const at::RecordFunction& function) {
    static constexpr std::array<std::string_view, 7> kReads = {
        "aten::_local_scalar_dense",
        "aten::equal",
        "aten::nonzero",
        "aten::masked_select",
        "aten::_unique",
        "aten::_unique2",
        "aten::bincount"};
    count_ += std::count(kReads.begin(), kReads.end(), function.name());
    return nullptr;
  }

  static inline thread_local int64_t count_ = 0;
  const int64_t before_;
  const at::CallbackHandle callback_;
};

// What the graphs of all ranks of a task did.
struct ReplayCounts {
  std::atomic<int64_t> runs = 0;
  std::atomic<int64_t> records = 0;
  std::atomic<int64_t> host_reads = 0;  // inside of steps
};

// As a device that has recorded: the first closure of a record is called each
// time, on the record's own inputs, which the caller's are copied to; results
// are the record's own, and every other result given before is spoilt by then.
// A loop has the bits of the eager one if its steps are pure, their keys tell
// all that matters, and results are taken in time.
class ReplayingStepGraph final : public StepGraph {
 public:
  // Borrows.
  explicit ReplayingStepGraph(ReplayCounts* counts) : counts_(*counts) {}

  Tensors Run(const std::string& key, const Tensors& inputs,
              const Step& step) override {
    Record& record = records_[RecordKey(key, inputs)];
    if (record.step == nullptr) {
      ++counts_.records;
      record.step = step;
      for (const at::Tensor& input : inputs) {
        record.inputs.push_back(at::empty_like(input));
      }
    }
    ++counts_.runs;
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < inputs.size(); ++i) {
      record.inputs[i].copy_(inputs[i]);
    }
    const Tensors results = Call(record);
    for (const at::Tensor& given : given_) Spoil(given);
    given_.clear();
    for (size_t i = 0; i < results.size(); ++i) {
      if (record.outputs.size() == i) {
        record.outputs.push_back(at::empty_like(results[i]));
      }
      record.outputs[i].copy_(results[i]);
    }
    given_ = record.outputs;
    return record.outputs;
  }

 private:
  struct Record {
    Step step;
    Tensors inputs;
    Tensors outputs;
  };

  Tensors Call(const Record& record) {
    const at::AutoGradMode as_called(true);
    const HostReadCounter counter;
    Tensors results = record.step(record.inputs);
    counts_.host_reads += counter.reads();
    return results;
  }

  static void Spoil(const at::Tensor& tensor) {
    if (tensor.is_floating_point()) {
      tensor.fill_(std::numeric_limits<double>::quiet_NaN());
    } else {
      tensor.fill_(-1);
    }
  }

  std::map<std::string, Record> records_;
  Tensors given_;
  ReplayCounts& counts_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_FOR_TESTS_H_
