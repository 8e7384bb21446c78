#include "worker/engine/trainer/training_state.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {

std::map<std::string, at::Tensor> TrainingState::ToTensors(
    const std::string& prefix) const {
  const auto host = [](const at::Tensor& tensor) {
    return tensor.to(at::kCPU, at::kFloat, /*non_blocking=*/false,
                     /*copy=*/true);
  };
  return {{prefix + "parameters", host(parameters)},
          {prefix + "buffers", host(buffers)},
          {prefix + "momentum", host(momentum)},
          {prefix + "step", at::full({1}, step, at::kLong)}};
}

TrainingState TrainingState::Clone() const {
  return {parameters.clone(), buffers.clone(), momentum.clone(), step};
}

absl::StatusOr<TrainingState> LoadTrainingState(const SafetensorsFile& file,
                                                const std::string& prefix,
                                                const Network& network,
                                                at::Device device) {
  const auto load = [&](const std::string& name,
                        int64_t length) -> absl::StatusOr<at::Tensor> {
    DASM_ASSIGN_OR_RETURN(const TensorView view,
                          file.Get(prefix + name, DType::kF32, 1));
    if (view.shape[0] != length) {
      return absl::InvalidArgumentError(
          absl::StrCat("the checkpoint's ", prefix, name, " has ",
                       view.shape[0], " values where the network has ", length,
                       "; it belongs to another task"));
    }
    return CopyTensor(view).to(device);
  };
  TrainingState state;
  DASM_ASSIGN_OR_RETURN(state.parameters,
                        load("parameters", network.parameters().total()));
  DASM_ASSIGN_OR_RETURN(state.buffers,
                        load("buffers", network.buffers().total()));
  DASM_ASSIGN_OR_RETURN(state.momentum,
                        load("momentum", network.parameters().total()));
  DASM_ASSIGN_OR_RETURN(const TensorView step,
                        file.Get(prefix + "step", DType::kI64, 1));
  if (step.shape[0] != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint's ", prefix, "step is not one number"));
  }
  state.step = *static_cast<const int64_t*>(step.data);
  return state;
}

}  // namespace dasm
