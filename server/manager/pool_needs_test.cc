#include "server/manager/pool_needs.h"

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

constexpr char kCpu[] = "cpu-avx2/torch-2/fp32/n1";
constexpr char kGpu[] = "cuda-sm90/torch-2/fp32/n1";

TEST(PoolNeeds, MoreRanksThanAnyPoolHasAreRefusedByName) {
  const std::map<std::string, int> pools = {{kCpu, 3}, {kGpu, 8}};
  EXPECT_TRUE(CheckPools({.ranks = 8}, pools).ok());
  const absl::Status status = CheckPools({.ranks = 9}, pools);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(ReasonOf(status), "NO_SUCH_POOL");
  EXPECT_EQ(FieldOf(status), "resources.ranks");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the largest pool, cuda-sm90/torch-2/fp32/n1, has 8"));
}

TEST(PoolNeeds, SlotsOfTwoClassesDoNotAddUp) {
  EXPECT_FALSE(CheckPools({.ranks = 4}, {{kCpu, 3}, {kGpu, 3}}).ok());
}

TEST(PoolNeeds, DevicePrecisionsNeedADevice) {
  const absl::Status status = CheckPools({.precision = "bf16"}, {{kCpu, 3}});
  EXPECT_EQ(FieldOf(status), "execution.precision");
  EXPECT_TRUE(CheckPools({.precision = "tf32"}, {{kCpu, 1}, {kGpu, 1}}).ok());
  // Enough slots, but of CPUs.
  const absl::Status few =
      CheckPools({.ranks = 2, .precision = "bf16"}, {{kCpu, 9}, {kGpu, 1}});
  EXPECT_EQ(FieldOf(few), "resources.ranks");
  EXPECT_THAT(std::string(few.message()), HasSubstr("has 1 slot;"));
}

TEST(PoolNeeds, WithoutWorkersNothingIsRefused) {
  EXPECT_TRUE(CheckPools({.ranks = 64, .precision = "bf16"}, {}).ok());
}

}  // namespace
}  // namespace dasm
