#include "common/rpc/handler.h"

#include <stdexcept>
#include <string>

#include "common/base/error.h"
#include "common/base/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

TEST(Handler, ConvertsAndCounts) {
  Metrics metrics;
  FakeClock clock;
  RpcMetrics rpc_metrics(&metrics, &clock);
  const auto ok = [&] {
    clock.Advance(absl::Milliseconds(30));
    return absl::OkStatus();
  };
  EXPECT_TRUE(rpc::Handle(&rpc_metrics, "JobService/GetJob", ok).ok());
  EXPECT_TRUE(rpc::Handle(&rpc_metrics, "JobService/GetJob", ok).ok());
  const grpc::Status refused =
      rpc::Handle(&rpc_metrics, "JobService/GetJob",
                  [] { return InvalidField("name", "is empty"); });
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(FieldOf(FromGrpcStatus(refused)), "name");
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total{code=\"OK\","
                              "method=\"JobService/GetJob\"} 2"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total{"
                              "code=\"INVALID_ARGUMENT\","
                              "method=\"JobService/GetJob\"} 1"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handling_seconds_sum{"
                              "method=\"JobService/GetJob\"} 0.06"));
}

TEST(Handler, ExceptionIsAnInternalError) {
  const grpc::Status thrown =
      rpc::Handle(nullptr, "JobService/GetJob",
                  []() -> absl::Status { throw std::runtime_error("no"); });
  EXPECT_EQ(thrown.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(thrown.error_message(),
            "JobService/GetJob failed unexpectedly: no");
  const grpc::Status odd = rpc::Handle(nullptr, "JobService/GetJob",
                                       []() -> absl::Status { throw 1; });
  EXPECT_EQ(odd.error_code(), grpc::StatusCode::INTERNAL);
}

}  // namespace
}  // namespace dasm
