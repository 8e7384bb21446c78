#include "worker/engine/task/trajectory_curves.h"

#include <ATen/ATen.h>

#include <cstring>

#include "common/base/status_macros.h"

namespace dasm {
namespace {

at::Tensor Floats(const std::vector<float>& values) {
  return at::tensor(at::ArrayRef<float>(values), at::kFloat);
}

at::Tensor Integers(const std::vector<int64_t>& values) {
  return at::tensor(at::ArrayRef<int64_t>(values), at::kLong);
}

at::Tensor Bits(const std::vector<float>& values) {
  const at::Tensor bits =
      at::empty({static_cast<int64_t>(values.size())}, at::kInt);
  if (!values.empty()) {
    std::memcpy(bits.mutable_data_ptr(), values.data(), bits.nbytes());
  }
  return bits;
}

template <typename Value>
absl::Status LoadVector(const SafetensorsFile& file, const std::string& name,
                        DType dtype, std::vector<Value>* values) {
  DASM_ASSIGN_OR_RETURN(const TensorView view, file.Get(name, dtype, 1));
  values->resize(view.elements());
  if (!values->empty()) {
    std::memcpy(values->data(), view.data, view.size_bytes());
  }
  return absl::OkStatus();
}

}  // namespace

void TrajectoryCurves::Add(int64_t iteration,
                           const TrajectoryFigures& figures) {
  iterations_.push_back(iteration);
  loss_.push_back(static_cast<float>(figures.loss));
  step_size_.push_back(static_cast<float>(figures.step_size));
  if (soft_) entropy_.push_back(static_cast<float>(figures.label_entropy));
  for (const double share : figures.layer_share) {
    layer_share_.push_back(static_cast<float>(share));
  }
}

void TrajectoryCurves::AddProbe(int64_t iteration,
                                const std::vector<double>& losses) {
  probe_iterations_.push_back(iteration);
  probe_loss_.insert(probe_loss_.end(), losses.begin(), losses.end());
}

std::map<std::string, at::Tensor> TrajectoryCurves::ToTensors() const {
  std::map<std::string, at::Tensor> tensors = {
      {"iteration", Integers(iterations_)},
      {"loss", Floats(loss_)},
      {"step_size", Floats(step_size_)},
      {"layer_loss",
       Floats(layer_share_)
           .view({static_cast<int64_t>(iterations_.size()), layers_})}};
  if (soft_) tensors["label_entropy"] = Floats(entropy_);
  if (const auto probes = static_cast<int64_t>(probe_iterations_.size());
      probes > 0) {
    tensors["probe_iteration"] = Integers(probe_iterations_);
    tensors["probe_loss"] = Floats(probe_loss_).view({probes, -1});
  }
  return tensors;
}

std::map<std::string, at::Tensor> TrajectoryCurves::ToBits(
    const std::string& prefix) const {
  return {{prefix + "iteration", Integers(iterations_)},
          {prefix + "loss", Bits(loss_)},
          {prefix + "step_size", Bits(step_size_)},
          {prefix + "label_entropy", Bits(entropy_)},
          {prefix + "layer_loss", Bits(layer_share_)},
          {prefix + "probe_iteration", Integers(probe_iterations_)},
          {prefix + "probe_loss", Bits(probe_loss_)}};
}

absl::Status TrajectoryCurves::Load(const SafetensorsFile& file,
                                    const std::string& prefix) {
  DASM_RETURN_IF_ERROR(
      LoadVector(file, prefix + "iteration", DType::kI64, &iterations_));
  DASM_RETURN_IF_ERROR(LoadVector(file, prefix + "loss", DType::kI32, &loss_));
  DASM_RETURN_IF_ERROR(
      LoadVector(file, prefix + "step_size", DType::kI32, &step_size_));
  DASM_RETURN_IF_ERROR(
      LoadVector(file, prefix + "label_entropy", DType::kI32, &entropy_));
  DASM_RETURN_IF_ERROR(
      LoadVector(file, prefix + "layer_loss", DType::kI32, &layer_share_));
  DASM_RETURN_IF_ERROR(LoadVector(file, prefix + "probe_iteration", DType::kI64,
                                  &probe_iterations_));
  return LoadVector(file, prefix + "probe_loss", DType::kI32, &probe_loss_);
}

}  // namespace dasm
