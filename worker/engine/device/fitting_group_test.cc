#include "worker/engine/device/fitting_group.h"

#include <vector>

#include "common/base/error.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

absl::Status TooLarge() {
  return WithFailureClass(absl::ResourceExhaustedError("full"),
                          FailureClass::kOomDevice);
}

TEST(LargestFittingGroup, HalvesUntilItFits) {
  std::vector<int64_t> tried;
  EXPECT_EQ(LargestFittingGroup(100,
                                [&](int64_t group) {
                                  tried.push_back(group);
                                  return group > 13 ? TooLarge()
                                                    : absl::OkStatus();
                                }),
            12);
  EXPECT_EQ(tried, (std::vector<int64_t>{50, 25, 12}));
}

TEST(LargestFittingGroup, IsZeroWhereNothingFitsOrSomethingElseFails) {
  EXPECT_EQ(LargestFittingGroup(8, [](int64_t) { return TooLarge(); }), 0);
  EXPECT_EQ(LargestFittingGroup(1, [](int64_t) { return absl::OkStatus(); }),
            0);
  int calls = 0;
  EXPECT_EQ(LargestFittingGroup(8,
                                [&](int64_t) {
                                  ++calls;
                                  return absl::InternalError("driver");
                                }),
            0);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace dasm
