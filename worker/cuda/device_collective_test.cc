#include "worker/cuda/device_collective.h"

#include <vector>

#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/cuda/fake_nccl.h"

namespace dasm {
namespace {

TEST(DeviceCollective, SumHasTheBitsOfTheHosts) {
  FakeNccl nccl;
  FakeDeviceQueue queue(&nccl);
  DeviceCollective device(&queue);
  SingleProcessCollective host;
  std::vector<float> rows;
  for (int i = 0; i < 7 * 33; ++i) {
    rows.push_back(1.0f / static_cast<float>(i * i % 97 + 1) *
                   static_cast<float>(i % 2 == 0 ? 1 << i % 20 : -3));
  }
  std::vector<float> sum(33), expected(33);
  ASSERT_TRUE(device.SumShards(rows, 7, absl::MakeSpan(sum)).ok());
  ASSERT_TRUE(host.SumShards(rows, 7, absl::MakeSpan(expected)).ok());
  EXPECT_EQ(sum, expected);
}

TEST(DeviceCollective, RefusesSizesThatDoNotFitAndCallsAfterAnAbort) {
  FakeNccl nccl;
  FakeDeviceQueue queue(&nccl);
  DeviceCollective device(&queue);
  std::vector<float> rows(7), sum(2);
  EXPECT_EQ(device.SumShards(rows, 3, absl::MakeSpan(sum)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(device.Barrier().ok());
  device.Abort(absl::UnavailableError("drain"));
  EXPECT_EQ(device.Barrier().message(), "drain");
  EXPECT_EQ(device.GatherShards(absl::MakeSpan(rows), 7).message(), "drain");
}

}  // namespace
}  // namespace dasm
