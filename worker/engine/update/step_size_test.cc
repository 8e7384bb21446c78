#include "worker/engine/update/step_size.h"

#include <cmath>
#include <limits>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

TrajectoryMatchingSpec Spec(StepSizeForm form) {
  TrajectoryMatchingSpec spec;
  spec.step_size = 0.1;
  spec.step_size_learning_rate = 0.5;
  spec.step_size_momentum = 0.5;
  spec.step_size_form = form;
  return spec;
}

TEST(StepSize, PlainMovesAsMomentumSgdDoes) {
  const StepSize step_size(Spec(StepSizeForm::kPlain));
  StepSize::State state = step_size.Start();
  ASSERT_TRUE(step_size.Step(0.04, &state).ok());
  EXPECT_DOUBLE_EQ(state.value, 0.1 - 0.5 * 0.04);
  ASSERT_TRUE(step_size.Step(0.04, &state).ok());
  EXPECT_DOUBLE_EQ(state.value, 0.08 - 0.5 * 0.06);
}

TEST(StepSize, PlainMayNotBecomeNegativeAndNamesTheForm) {
  const StepSize step_size(Spec(StepSizeForm::kPlain));
  StepSize::State state = step_size.Start();
  const absl::Status status = step_size.Step(0.2, &state);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kNumeric);
  EXPECT_THAT(status.message(), HasSubstr("step_size_form"));
  EXPECT_EQ(state.value, 0.1);
  EXPECT_EQ(state.velocity, 0);
}

TEST(StepSize, ClampedStopsAtAHundredthOfItsStart) {
  const StepSize step_size(Spec(StepSizeForm::kClamped));
  StepSize::State state = step_size.Start();
  ASSERT_TRUE(step_size.Step(1, &state).ok());
  EXPECT_DOUBLE_EQ(state.value, 0.001);
  // It may grow again.
  ASSERT_TRUE(step_size.Step(-2, &state).ok());
  EXPECT_GT(state.value, 0.1);
}

TEST(StepSize, LogIsSgdOnTheLogarithm) {
  const StepSize step_size(Spec(StepSizeForm::kLog));
  StepSize::State state = step_size.Start();
  ASSERT_TRUE(step_size.Step(3, &state).ok());
  EXPECT_DOUBLE_EQ(std::log(state.value), std::log(0.1) - 0.5 * 0.1 * 3);
  EXPECT_GT(state.value, 0);
}

TEST(StepSize, IsNeverMadeNotFinite) {
  for (const StepSizeForm form :
       {StepSizeForm::kPlain, StepSizeForm::kClamped, StepSizeForm::kLog}) {
    const StepSize step_size(Spec(form));
    for (const double gradient :
         {std::numeric_limits<double>::infinity(),
          -std::numeric_limits<double>::infinity(), std::nan("")}) {
      StepSize::State state = step_size.Start();
      EXPECT_EQ(FailureClassOf(step_size.Step(gradient, &state)),
                FailureClass::kNumeric);
      EXPECT_EQ(state.value, 0.1);
    }
  }
}

}  // namespace
}  // namespace dasm
