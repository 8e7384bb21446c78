#include "server/manager/retry_policy.h"

#include "gtest/gtest.h"

namespace dasm {
namespace {

int Budget(FailureClass failure) {
  int failures = 0;
  while (failures < 100 && DecideRetry(failure, failures).retry) ++failures;
  return failures;
}

TEST(RetryPolicy, BudgetsAreThoseOfTheTaxonomy) {
  EXPECT_EQ(Budget(FailureClass::kNodeLost), 10);
  EXPECT_EQ(Budget(FailureClass::kCollective), 5);
  EXPECT_EQ(Budget(FailureClass::kDeviceFault), 3);
  EXPECT_EQ(Budget(FailureClass::kStorage), 10);
  EXPECT_EQ(Budget(FailureClass::kInternal), 3);
  EXPECT_EQ(Budget(FailureClass::kOomDevice), 0);
  EXPECT_EQ(Budget(FailureClass::kOomHost), 0);
  EXPECT_EQ(Budget(FailureClass::kSpec), 0);
  EXPECT_EQ(Budget(FailureClass::kData), 0);
  EXPECT_EQ(Budget(FailureClass::kNumeric), 0);
  EXPECT_EQ(Budget(FailureClass::kPreempted), 100);
  EXPECT_FALSE(DecideRetry(FailureClass::kPreempted, 0).counts);
}

TEST(RetryPolicy, StorageBacksOffUpToAMinute) {
  EXPECT_EQ(DecideRetry(FailureClass::kStorage, 0).back_off, absl::Seconds(1));
  EXPECT_EQ(DecideRetry(FailureClass::kStorage, 3).back_off, absl::Seconds(8));
  EXPECT_EQ(DecideRetry(FailureClass::kStorage, 9).back_off, absl::Seconds(60));
  EXPECT_EQ(DecideRetry(FailureClass::kNodeLost, 9).back_off,
            absl::ZeroDuration());
}

TEST(RetryPolicy, AFaultOfTheMachineIsTriedElsewhere) {
  EXPECT_TRUE(DecideRetry(FailureClass::kDeviceFault, 0).elsewhere);
  EXPECT_FALSE(DecideRetry(FailureClass::kNodeLost, 0).elsewhere);
}

}  // namespace
}  // namespace dasm
