#include "worker/engine/task/fitting_parameters.h"

#include <variant>
#include <vector>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Status TooLarge() {
  return WithFailureClass(absl::ResourceExhaustedError("full"),
                          FailureClass::kOomDevice);
}

TEST(FittingGroupAdvice, NamesTheMicroBatchThatRanAStep) {
  DistillSegmentParameters parameters;
  parameters.matching.real_batch = 64;
  parameters.matching.synthetic_batch = 128;
  parameters.execution.train_group = 16;
  parameters.execution.forward_group = 100;
  std::vector<int> micro_batches;
  const std::string advice =
      FittingGroupAdvice(parameters, [&](const TaskParameters& smaller) {
        const ExecutionSpec& execution =
            std::get<DistillSegmentParameters>(smaller).execution;
        micro_batches.push_back(execution.micro_batch);
        EXPECT_EQ(execution.train_group, 16);
        EXPECT_EQ(execution.forward_group,
                  std::min(100, execution.micro_batch));
        // Stopped after a step: it fits.
        return execution.micro_batch > 20
                   ? TooLarge()
                   : WithFailureClass(absl::CancelledError("stopped"),
                                      FailureClass::kPreempted);
      });
  EXPECT_THAT(micro_batches, ElementsAre(64, 32, 16));
  EXPECT_THAT(advice, HasSubstr("at most 16 images"));
  EXPECT_THAT(advice, HasSubstr("execution.micro_batch"));
}

TEST(FittingGroupAdvice, SaysWhenNothingFits) {
  EvaluateParameters parameters;
  EXPECT_THAT(FittingGroupAdvice(
                  parameters, [](const TaskParameters&) { return TooLarge(); }),
              HasSubstr("no smaller group fits"));
}

TEST(OneStepObserver, StopsAfterTheFirstStep) {
  OneStepObserver observer;
  EXPECT_EQ(observer.Poll(), TaskObserver::Wish::kNone);
  EXPECT_EQ(observer.Poll(), TaskObserver::Wish::kStop);
}

TEST(FittingGroupAdvice, OfAStudentIsItsGroupUnlessNoneHelps) {
  MatchTrajectoriesParameters parameters;
  parameters.execution.train_group = 64;
  const auto run = [](const TaskParameters& smaller) {
    const ExecutionSpec& execution =
        std::get<MatchTrajectoriesParameters>(smaller).execution;
    return execution.micro_batch > 20 ? TooLarge() : absl::OkStatus();
  };
  EXPECT_THAT(FittingGroupAdvice(parameters, run),
              HasSubstr("execution.micro_batch"));
  parameters.matching.estimator = Estimator::kFullGraph;
  EXPECT_THAT(FittingGroupAdvice(parameters, run), HasSubstr("step_adjoint"));
  parameters.matching.estimator = Estimator::kStepAdjoint;
  parameters.network.norm = Norm::kBatch;
  EXPECT_THAT(FittingGroupAdvice(parameters, run),
              HasSubstr("matching.trajectory.batch"));
}

}  // namespace
}  // namespace dasm
