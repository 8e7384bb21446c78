#include "worker/collective/reduction.h"

#include <string>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

TEST(Reduction, NamesReadBack) {
  EXPECT_EQ(*ParseReduction("ordered"), Reduction::kOrdered);
  EXPECT_EQ(*ParseReduction("fast"), Reduction::kFast);
  EXPECT_EQ(ParseReduction("").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Reduction, CollectiveThatCannotOrderIsNamed) {
  EXPECT_TRUE(CheckReduction("NCCL", true, Reduction::kOrdered).ok());
  EXPECT_TRUE(CheckReduction("NCCL", false, Reduction::kFast).ok());
  const absl::Status status =
      CheckReduction("NCCL", false, Reduction::kOrdered);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("NCCL"));
  EXPECT_EQ(FailureClassOf(status), FailureClass::kSpec);
}

}  // namespace
}  // namespace dasm
