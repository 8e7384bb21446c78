#include "server/scheduler/lease_table.h"

#include "common/base/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Renewal = LeaseTable::Renewal;

constexpr absl::Duration kPeriod = absl::Seconds(5);

TEST(LeaseTable, ALeaseEndsOnceAfterItsPeriodWithoutACall) {
  FakeClock clock;
  LeaseTable table(&clock, kPeriod);
  EXPECT_EQ(table.Renew("a", "1"), Renewal::kFirst);
  clock.Advance(kPeriod - absl::Milliseconds(1));
  EXPECT_THAT(table.Expire(), IsEmpty());
  EXPECT_TRUE(table.IsLive("a"));
  EXPECT_EQ(table.UntilNextExpiry(), absl::Milliseconds(1));
  clock.Advance(absl::Milliseconds(1));
  EXPECT_THAT(table.Expire(), ElementsAre("a"));
  EXPECT_FALSE(table.IsLive("a"));
  EXPECT_THAT(table.Expire(), IsEmpty());
}

TEST(LeaseTable, ReceiptOfACallRenewsAFullPeriod) {
  FakeClock clock;
  LeaseTable table(&clock, kPeriod);
  table.Renew("a", "1");
  clock.Advance(absl::Seconds(4));
  EXPECT_EQ(table.Renew("a", "1"), Renewal::kRenewed);
  clock.Advance(absl::Seconds(4));
  EXPECT_THAT(table.Expire(), IsEmpty());
}

TEST(LeaseTable, AJumpOfTheWallClockEndsNothing) {
  FakeClock clock;
  LeaseTable table(&clock, kPeriod);
  table.Renew("a", "1");
  clock.JumpWall(absl::Hours(5));
  EXPECT_THAT(table.Expire(), IsEmpty());
  clock.JumpWall(-absl::Hours(10));
  clock.Advance(kPeriod);
  EXPECT_THAT(table.Expire(), ElementsAre("a"));
}

TEST(LeaseTable, ANewProcessOfAWorkerReplacesTheOldOneAtOnce) {
  FakeClock clock;
  LeaseTable table(&clock, kPeriod);
  table.Renew("a", "1");
  EXPECT_EQ(table.Renew("a", "2"), Renewal::kReplaced);
  EXPECT_EQ(table.Renew("a", "2"), Renewal::kRenewed);
}

TEST(LeaseTable, AWorkerThatReturnsLateIsToldApart) {
  FakeClock clock;
  LeaseTable table(&clock, kPeriod);
  table.Renew("a", "1");
  clock.Advance(kPeriod);
  // Even when nobody asked Expire in between.
  EXPECT_EQ(table.Renew("a", "1"), Renewal::kReturned);
  EXPECT_TRUE(table.IsLive("a"));
}

TEST(LeaseTable, ARestartGivesAKnownWorkerOneFullFreshPeriod) {
  FakeClock clock;
  LeaseTable table(&clock, kPeriod);
  table.Restore("a");
  table.Restore("b");
  clock.Advance(kPeriod - absl::Milliseconds(1));
  EXPECT_EQ(table.Renew("a", "7"), Renewal::kRenewed);
  table.Restore("b");  // does not prolong
  clock.Advance(absl::Milliseconds(1));
  EXPECT_THAT(table.Expire(), ElementsAre("b"));
  EXPECT_EQ(table.Renew("a", "8"), Renewal::kReplaced);
}

}  // namespace
}  // namespace dasm
