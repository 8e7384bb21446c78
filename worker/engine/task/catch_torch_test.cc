#include "worker/engine/task/catch_torch.h"

#include <ATen/ATen.h>

#include <new>
#include <stdexcept>

#include "absl/status/statusor.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

absl::Status Thrown(void (*fn)()) {
  return CatchTorch("task", [fn] {
    fn();
    return absl::OkStatus();
  });
}

TEST(CatchTorch, ShapeErrorIsInternalWithoutItsBacktrace) {
  const absl::Status status = Thrown([] {
    at::ones({2, 3}).matmul(at::ones({2, 3}));
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("task: "));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("frame #")));
}

TEST(CatchTorch, FailedAllocationIsOutOfMemory) {
  for (auto fn : {+[] { at::empty({int64_t{1} << 60}, at::kByte); },
                  +[] { throw std::bad_alloc(); }}) {
    const absl::Status status = Thrown(fn);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(FailureClassOf(status), FailureClass::kOomHost);
  }
}

TEST(CatchTorch, OtherExceptionsAreUnknown) {
  const absl::Status status = Thrown([] { throw std::runtime_error("odd"); });
  EXPECT_EQ(status.code(), absl::StatusCode::kUnknown);
  EXPECT_THAT(std::string(status.message()), HasSubstr("odd"));
}

TEST(CatchTorch, PassesResultsThrough) {
  const absl::StatusOr<int> result =
      CatchTorch("task", []() -> absl::StatusOr<int> { return 7; });
  EXPECT_EQ(*result, 7);
}

}  // namespace
}  // namespace dasm
