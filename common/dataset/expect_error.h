// What an error about a user's data says, checked in one line.
#ifndef DASM_COMMON_DATASET_EXPECT_ERROR_H_
#define DASM_COMMON_DATASET_EXPECT_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {

inline constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
inline constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// `result` failed with `code` about `field`, its message has `what` in it, and
// FAILED_PRECONDITION has the failure class DATA.
template <typename T>
void ExpectError(const absl::StatusOr<T>& result, absl::StatusCode code,
                 const std::string& field, const std::string& what) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), code) << result.status();
  EXPECT_EQ(FieldOf(result.status()), field) << result.status();
  EXPECT_THAT(std::string(result.status().message()),
              ::testing::HasSubstr(what));
  if (code == absl::StatusCode::kFailedPrecondition) {
    EXPECT_EQ(FailureClassOf(result.status()), FailureClass::kData);
  }
}

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_EXPECT_ERROR_H_
