#include "worker/agent/device_slots.h"

#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(DeviceSlots, RanksOfAGangGetADeviceEach) {
  DeviceSlots slots(2, {"cuda:0", "cuda:1"});
  EXPECT_EQ(slots.Take("t", 1, 0), "cuda:0");
  EXPECT_EQ(slots.Take("t", 1, 1), "cuda:1");
  EXPECT_EQ(slots.Take("u", 1, 0), std::nullopt);
  EXPECT_EQ(slots.free(), 0);
}

TEST(DeviceSlots, AskingAgainGivesTheSameDevice) {
  DeviceSlots slots(2, {"cuda:0", "cuda:1"});
  EXPECT_EQ(slots.Take("t", 1, 0), "cuda:0");
  EXPECT_EQ(slots.Take("t", 1, 0), "cuda:0");
  EXPECT_EQ(slots.free(), 1);
}

// Also where the older attempt has not ended yet.
TEST(DeviceSlots, AnotherFenceIsAnotherAttempt) {
  DeviceSlots slots(2, {"cuda:0", "cuda:1"});
  EXPECT_EQ(slots.Take("t", 1, 0), "cuda:0");
  EXPECT_EQ(slots.Take("t", 2, 0), "cuda:1");
  slots.Free("t", 1, 0);
  EXPECT_EQ(slots.Take("u", 1, 0), "cuda:0");
}

TEST(DeviceSlots, SharedDevicesAreFilledEvenly) {
  DeviceSlots slots(4, {"cuda:0", "cuda:1"});
  EXPECT_EQ(slots.Take("a", 1, 0), "cuda:0");
  EXPECT_EQ(slots.Take("b", 1, 0), "cuda:1");
  slots.Free("a", 1, 0);
  slots.Free("nobody", 1, 0);
  EXPECT_EQ(slots.Take("c", 1, 0), "cuda:0");
  EXPECT_EQ(slots.Take("d", 1, 0), "cuda:0");
  EXPECT_EQ(slots.Take("e", 1, 0), "cuda:1");
}

TEST(DeviceSlots, WithoutDevicesEverySlotIsTheCpu) {
  DeviceSlots slots(2, {});
  EXPECT_EQ(slots.Take("a", 1, 0), "cpu");
  EXPECT_EQ(slots.Take("b", 1, 0), "cpu");
  EXPECT_EQ(slots.Take("c", 1, 0), std::nullopt);
}

}  // namespace
}  // namespace dasm
