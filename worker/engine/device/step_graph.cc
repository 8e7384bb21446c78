#include "worker/engine/device/step_graph.h"

#include <ATen/ATen.h>

#include "worker/engine/device/load_plugin.h"

namespace dasm {

StepGraph::Tensors EagerStepGraph::Run(const std::string& key,
                                       const Tensors& inputs,
                                       const Step& step) {
  Tensors moved;
  moved.reserve(inputs.size());
  for (const at::Tensor& input : inputs) {
    moved.push_back(Upload(input, device_));
  }
  return step(moved);
}

std::unique_ptr<StepGraph> MakeStepGraph(at::Device device) {
  DevicePlugin* const plugin = InstalledPlugin();
  if (device.is_cpu() || plugin == nullptr) {
    return std::make_unique<EagerStepGraph>(device);
  }
  return plugin->MakeStepGraph(device.has_index() ? device.index() : 0);
}

StepGraph::Tensors RunStep(StepGraph* graph, at::Device device,
                           const std::string& key,
                           const StepGraph::Tensors& inputs,
                           const StepGraph::Step& step) {
  if (graph != nullptr) return graph->Run(key, inputs, step);
  return EagerStepGraph(device).Run(key, inputs, step);
}

}  // namespace dasm
