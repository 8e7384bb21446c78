#include "worker/engine/device/step_graph.h"

#include <ATen/ATen.h>

#include "worker/engine/device/load_plugin.h"

namespace dasm {

StepGraph::Tensors EagerStepGraph::Run(const std::string& key,
                                       const Tensors& inputs,
                                       const Step& step) {
  Tensors moved;
  moved.reserve(inputs.size());
  for (const at::Tensor& input : inputs) moved.push_back(input.to(device_));
  return step(moved);
}

std::unique_ptr<StepGraph> MakeStepGraph(at::Device device) {
  DevicePlugin* const plugin = InstalledPlugin();
  if (device.is_cpu() || plugin == nullptr) {
    return std::make_unique<EagerStepGraph>(device);
  }
  return plugin->MakeStepGraph(device.has_index() ? device.index() : 0);
}

}  // namespace dasm
