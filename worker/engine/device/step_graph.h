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
//   - of fixed shapes under one key; whatever decides which operators run (the
//     list of augmentations, a batch's size) belongs into the key
//   - using torch::autograd::grad, not backward(): leaves made inside
// Threads: one object a thread that runs a task.
#ifndef DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_H_
#define DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace dasm {

class StepGraph {
 public:
  using Tensors = std::vector<at::Tensor>;
  using Step = std::function<Tensors(const Tensors& inputs)>;

  virtual ~StepGraph() = default;

  // step(inputs), every input first moved to the device. The results may be
  // overwritten by the next Run of the same key: take or copy what is needed
  // before. Exceptions of the step pass through.
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

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_STEP_GRAPH_H_
