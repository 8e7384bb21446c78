#include "worker/engine/device/device_lanes.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;

TEST(DeviceLanes, AreCalledInTurnWithoutADevice) {
  const auto lanes = MakeDeviceLanes(at::kCPU, 3);
  std::vector<int> called;
  EXPECT_TRUE(lanes
                  ->ForEach([&](int lane) {
                    called.push_back(lane);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_THAT(called, ElementsAre(0, 1, 2));
}

TEST(DeviceLanes, EndWithTheFirstError) {
  const auto lanes = MakeLanesInTurn(3);
  std::vector<int> called;
  const absl::Status status = lanes->ForEach([&](int lane) {
    called.push_back(lane);
    return lane < 1 ? absl::OkStatus() : absl::AbortedError("lane 1");
  });
  EXPECT_EQ(status, absl::AbortedError("lane 1"));
  EXPECT_THAT(called, ElementsAre(0, 1));
}

}  // namespace
}  // namespace dasm
