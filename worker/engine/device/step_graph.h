// A step of an inner loop that a device may record once and then replay, so
// that thousands of kernel launches become one. Without a device, or where a
// step cannot be recorded, it is simply called: the results are the same.
//
// What a step must be, for recording to be right:
//   - a pure function of its inputs and of tensors that never change; state
//     goes in and comes out
//   - without a look at a value on the host (.item(), .cpu(), a branch on it)
//     and without a host tensor made inside: what changes from call to call is
//     an input
//   - decided by its key and the shapes and types of its inputs alone: whatever
//     else chooses operators or is a number in them (the list of augmentations,
//     a batch's size) belongs into the key, but for the network: a graph serves
//     one task with one network
//   - owning what it refers to, or referring to what outlives the graph
//   - using torch::autograd::grad, not backward(): leaves made inside
// Threads: one object a thread that runs a task.
#ifndef DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_H_
#define DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "worker/engine/device/step_inputs.h"

namespace dasm {

class StepGraph {
 public:
  using Tensors = std::vector<at::Tensor>;
  using Step = std::function<Tensors(const Tensors& inputs)>;

  virtual ~StepGraph() = default;

  // step(inputs), every input first moved to the device; nothing waits for it.
  // The next Run, of whatever key, may overwrite the results: take or copy what
  // is needed before. Exceptions of the step pass through.
  virtual Tensors Run(const std::string& key, const Tensors& inputs,
                      const Step& step) = 0;
  // How many keys are replayed, and how many could not be recorded.
  virtual int recorded() const { return 0; }
  virtual int refused() const { return 0; }
};

// Calls the step, nothing else.
class EagerStepGraph final : public StepGraph {
 public:
  explicit EagerStepGraph(at::Device device) : device_(device) {}
  Tensors Run(const std::string& key, const Tensors& inputs,
              const Step& step) override;

 private:
  const at::Device device_;
};

// The installed plug-in's for its devices, else an eager one.
std::unique_ptr<StepGraph> MakeStepGraph(at::Device device);

// graph->Run, or an eager one's where `graph` is null.
StepGraph::Tensors RunStep(StepGraph* graph, at::Device device,
                           const std::string& key,
                           const StepGraph::Tensors& inputs,
                           const StepGraph::Step& step);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_H_
