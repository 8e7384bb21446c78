#include "worker/engine/device/step_graph.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

std::string RecordKey(const std::string& key,
                      const StepGraph::Tensors& inputs) {
  std::string record = key;
  for (const at::Tensor& input : inputs) {
    absl::StrAppend(&record, " ", c10::toString(input.scalar_type()), "[",
                    absl::StrJoin(input.sizes(), ","), "]");
  }
  return record;
}

at::Tensor Upload(const at::Tensor& tensor, at::Device device) {
  if (tensor.device() == device) return tensor;
  return tensor.to(tensor.options().device(device), /*non_blocking=*/true);
}

at::Tensor UploadIndices(absl::Span<const int64_t> indices, at::Device device) {
  const at::Tensor host =
      at::empty({static_cast<int64_t>(indices.size())}, at::kLong);
  std::copy(indices.begin(), indices.end(), host.mutable_data_ptr<int64_t>());
  return Upload(host, device);
}

}  // namespace dasm
