#include "worker/engine/update/step_size.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {
namespace {

constexpr double kLeastShare = 0.01;

}  // namespace

StepSize::StepSize(const TrajectoryMatchingSpec& spec)
    : form_(spec.step_size_form),
      start_(spec.step_size),
      learning_rate_(spec.step_size_learning_rate),
      momentum_(spec.step_size_momentum) {}

absl::Status StepSize::Step(double gradient, State* state) const {
  if (form_ == StepSizeForm::kLog) gradient *= state->value;
  State next;
  next.velocity = momentum_ * state->velocity + gradient;
  const double move = learning_rate_ * next.velocity;
  next.value = form_ == StepSizeForm::kLog ? state->value * std::exp(-move)
                                           : state->value - move;
  if (form_ == StepSizeForm::kClamped) {
    next.value = std::max(next.value, kLeastShare * start_);
  }
  // What is stored is a float.
  const float stored = static_cast<float>(next.value);
  if (!std::isfinite(stored) || stored <= 0 || !std::isfinite(next.velocity)) {
    return WithFailureClass(
        absl::FailedPreconditionError(absl::StrCat(
            "the learned step size would become ", next.value,
            ", which no network can be trained with; lower "
            "matching.trajectory.step_size_learning_rate or "
            "image_learning_rate",
            form_ == StepSizeForm::kPlain
                ? ", or set matching.trajectory.step_size_form to clamped or "
                  "log"
                : "")),
        FailureClass::kNumeric);
  }
  *state = next;
  return absl::OkStatus();
}

}  // namespace dasm
