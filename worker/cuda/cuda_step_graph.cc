#include "worker/cuda/cuda_step_graph.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/core/AutogradState.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>
#include <cuda_runtime_api.h>

#include <map>
#include <optional>
#include <utility>

#include "worker/cuda/stream_order.h"
#include "worker/engine/device/step_inputs.h"

namespace dasm {
namespace {

// Backward passes run on the calling thread and not on the device's own, which
// knows nothing of the recording.
class BackwardOnThisThread {
 public:
  BackwardOnThisThread()
      : before_(
            c10::AutogradState::get_tls_state().get_multithreading_enabled()) {
    c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
  }
  ~BackwardOnThisThread() {
    c10::AutogradState::get_tls_state().set_multithreading_enabled(before_);
  }

 private:
  const bool before_;
};

// Orders the side stream behind the current one, and back again at the end.
class OnSideStream {
 public:
  explicit OnSideStream(c10::cuda::CUDAStream side)
      : main_(c10::cuda::getCurrentCUDAStream(side.device_index())),
        side_(side) {
    Order(main_, side_);
    guard_.emplace(side_);
  }
  ~OnSideStream() noexcept(false) {
    guard_.reset();
    Order(side_, main_);
  }

 private:
  const c10::cuda::CUDAStream main_;
  const c10::cuda::CUDAStream side_;
  std::optional<c10::cuda::CUDAStreamGuard> guard_;
};

class CudaStepGraph final : public StepGraph {
 public:
  explicit CudaStepGraph(int device)
      : device_(at::kCUDA, static_cast<c10::DeviceIndex>(device)),
        side_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false,
                                           device_.index())),
        pool_(at::cuda::graph_pool_handle()) {}
  ~CudaStepGraph() override {
    // A graph may not be destroyed while it runs.
    cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream(device_.index()));
  }

  Tensors Run(const std::string& key, const Tensors& inputs,
              const Step& step) override {
    const c10::cuda::CUDAGuard guard(device_);
    Record& record = records_[RecordKey(key, inputs)];
    switch (record.state) {
      case State::kNew: {
        record.state = State::kWarm;
        return OnSide(inputs, step);
      }
      case State::kWarm:
        if (!Capture(&record, inputs, step)) return OnSide(inputs, step);
        [[fallthrough]];
      case State::kRecorded:
        Fill(&record, inputs);
        record.graph->replay();
        return record.outputs;
      case State::kRefused:
        break;
    }
    return OnSide(inputs, step);
  }
  int recorded() const override { return Count(State::kRecorded); }
  int refused() const override { return Count(State::kRefused); }

 private:
  enum class State { kNew, kWarm, kRecorded, kRefused };
  struct Record {
    State state = State::kNew;
    Tensors inputs;
    Tensors outputs;
    // After the tensors: they lie in its pool.
    std::unique_ptr<at::cuda::CUDAGraph> graph;
  };

  int Count(State state) const {
    int count = 0;
    for (const auto& [key, record] : records_) count += record.state == state;
    return count;
  }

  // As it would be recorded, without recording.
  Tensors OnSide(const Tensors& inputs, const Step& step) {
    Tensors moved;
    moved.reserve(inputs.size());
    for (const at::Tensor& input : inputs) {
      moved.push_back(Upload(input, device_));
    }
    const BackwardOnThisThread backward;
    const OnSideStream side(side_);
    return step(moved);
  }

  bool Capture(Record* record, const Tensors& inputs, const Step& step) {
    const BackwardOnThisThread backward;
    for (const at::Tensor& input : inputs) {
      record->inputs.push_back(at::empty_like(
          input, input.options().device(device_).requires_grad(false)));
    }
    Fill(record, inputs);
    record->graph = std::make_unique<at::cuda::CUDAGraph>();
    try {
      const OnSideStream side(side_);
      record->graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
      try {
        record->outputs = step(record->inputs);
      } catch (...) {
        // Whatever the step threw, the stream must not stay in capture.
        EndQuietly(record->graph.get());
        throw;
      }
      record->graph->capture_end();
    } catch (const c10::OutOfMemoryError&) {
      Refuse(record);
      throw;
    } catch (const c10::Error& error) {
      Refuse(record);
      TORCH_WARN("a step cannot be recorded and is called instead: ",
                 error.what_without_backtrace());
      return false;
    }
    record->state = State::kRecorded;
    return true;
  }

  static void EndQuietly(at::cuda::CUDAGraph* graph) {
    try {
      graph->capture_end();
    } catch (const c10::Error&) {
      (void)cudaGetLastError();  // it is remembered otherwise
    }
  }

  static void Refuse(Record* record) {
    record->state = State::kRefused;
    record->inputs.clear();
    record->outputs.clear();
    record->graph.reset();
    (void)cudaGetLastError();
  }

  static void Fill(Record* record, const Tensors& inputs) {
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < inputs.size(); ++i) {
      record->inputs[i].copy_(inputs[i], /*non_blocking=*/true);
    }
  }

  const at::Device device_;
  const c10::cuda::CUDAStream side_;
  // Of all records: one is replayed at a time, and nothing outlives the next.
  const c10::MempoolId_t pool_;
  std::map<std::string, Record> records_;
};

}  // namespace

std::unique_ptr<StepGraph> MakeCudaStepGraph(int device) {
  return std::make_unique<CudaStepGraph>(device);
}

}  // namespace dasm
