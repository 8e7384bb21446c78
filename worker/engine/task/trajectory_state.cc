#include "worker/engine/task/trajectory_state.h"

#include <ATen/ATen.h>

#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"

namespace dasm {
namespace {

constexpr char kStatePixels[] = "pixels";
constexpr char kStatePixelVelocity[] = "pixel_velocity";
constexpr char kStateLabels[] = "label_logits";
constexpr char kStateLabelVelocity[] = "label_velocity";
constexpr char kStateAverage[] = "average";
constexpr char kStateStepSize[] = "step_size";  // value, velocity
constexpr char kStateCounts[] = "counts";  // iteration, skipped, not_finite

absl::Status LoadStateTensor(const SafetensorsFile& file,
                             const std::string& name, at::Tensor* tensor) {
  const auto dimensions = static_cast<int>(tensor->dim());
  DASM_ASSIGN_OR_RETURN(const TensorView view,
                        file.Get(name, DType::kF32, dimensions));
  at::Tensor loaded = CopyTensor(view);
  if (loaded.sizes() != tensor->sizes()) {
    return absl::InvalidArgumentError(
        absl::StrCat("checkpoint: \"", name, "\" is of another segment"));
  }
  *tensor = loaded.to(tensor->device());
  return absl::OkStatus();
}

template <typename Value>
absl::Status LoadStateValues(const SafetensorsFile& file,
                             const std::string& name, DType dtype,
                             std::initializer_list<Value*> values) {
  DASM_ASSIGN_OR_RETURN(const TensorView view, file.Get(name, dtype, 1));
  if (view.elements() != static_cast<int64_t>(values.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("checkpoint: \"", name, "\" has another length"));
  }
  const auto* value = static_cast<const Value*>(view.data);
  for (Value* to : values) *to = *value++;
  return absl::OkStatus();
}

}  // namespace

std::map<std::string, at::Tensor> TensorsOf(const TrajectoryState& state) {
  std::map<std::string, at::Tensor> tensors;
  tensors[kStatePixels] = state.pixels;
  tensors[kStatePixelVelocity] = state.pixel_velocity;
  if (state.labels.is_floating_point()) tensors[kStateLabels] = state.labels;
  if (state.label_velocity.defined()) {
    tensors[kStateLabelVelocity] = state.label_velocity;
  }
  if (state.average.defined()) tensors[kStateAverage] = state.average;
  tensors[kStateStepSize] = at::tensor(
      {state.step_size.value, state.step_size.velocity}, at::kDouble);
  tensors[kStateCounts] =
      at::tensor({state.iteration, state.skipped, state.not_finite}, at::kLong);
  return tensors;
}

absl::Status LoadState(const SafetensorsFile& file, TrajectoryState* state) {
  DASM_RETURN_IF_ERROR(LoadStateTensor(file, kStatePixels, &state->pixels));
  DASM_RETURN_IF_ERROR(
      LoadStateTensor(file, kStatePixelVelocity, &state->pixel_velocity));
  if (state->labels.is_floating_point()) {
    DASM_RETURN_IF_ERROR(LoadStateTensor(file, kStateLabels, &state->labels));
  }
  if (state->label_velocity.defined()) {
    DASM_RETURN_IF_ERROR(
        LoadStateTensor(file, kStateLabelVelocity, &state->label_velocity));
  }
  if (state->average.defined()) {
    DASM_RETURN_IF_ERROR(LoadStateTensor(file, kStateAverage, &state->average));
  }
  DASM_RETURN_IF_ERROR(LoadStateValues<double>(
      file, kStateStepSize, DType::kF64,
      {&state->step_size.value, &state->step_size.velocity}));
  return LoadStateValues<int64_t>(
      file, kStateCounts, DType::kI64,
      {&state->iteration, &state->skipped, &state->not_finite});
}

}  // namespace dasm
