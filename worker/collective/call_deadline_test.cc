#include "worker/collective/call_deadline.h"

#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(CallDeadline, IsTheMinimumUntilCallsTakeLong) {
  CallDeadline deadline(absl::Seconds(5));
  EXPECT_EQ(deadline.Current(), absl::Seconds(5));
  deadline.Add(absl::Milliseconds(100));
  EXPECT_EQ(deadline.Current(), absl::Seconds(5));
  for (int i = 0; i < 5; ++i) deadline.Add(absl::Seconds(2));
  EXPECT_EQ(deadline.Current(), absl::Seconds(40));
}

TEST(CallDeadline, OneSlowCallDoesNotCount) {
  CallDeadline deadline(absl::Seconds(5));
  for (int i = 0; i < 10; ++i) deadline.Add(absl::Milliseconds(1));
  deadline.Add(absl::Seconds(100));
  EXPECT_EQ(deadline.Current(), absl::Seconds(5));
}

TEST(CallDeadline, ForgetsOldCalls) {
  CallDeadline deadline(absl::Seconds(5));
  for (int i = 0; i < 100; ++i) deadline.Add(absl::Seconds(10));
  for (int i = 0; i < 31; ++i) deadline.Add(absl::Milliseconds(1));
  EXPECT_EQ(deadline.Current(), absl::Seconds(5));
}

}  // namespace
}  // namespace dasm
