#include "common/rpc/grpc_status.h"

#include <string>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::EndsWith;
using ::testing::SizeIs;

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

google::rpc::ErrorInfo Info(const grpc::Status& status) {
  google::rpc::ErrorInfo info;
  const google::rpc::Status details = Details(status);
  EXPECT_GE(details.details_size(), 1);
  EXPECT_TRUE(details.details(0).UnpackTo(&info));
  return info;
}

TEST(GrpcStatus, EveryCodeComesBack) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), "message");
    const grpc::Status wire = ToGrpcStatus(status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    const absl::Status back = FromGrpcStatus(wire);
    EXPECT_EQ(back.code(), status.code());
    EXPECT_EQ(back.message(), "message");
  }
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(GrpcStatus, EveryErrorHasItsInfo) {
  const grpc::Status wire = ToGrpcStatus(absl::NotFoundError("no such job"));
  EXPECT_EQ(Info(wire).domain(), "dasm.dev");
  EXPECT_EQ(Info(wire).reason(), "NOT_FOUND");
  EXPECT_THAT(Info(wire).metadata(), SizeIs(0));
  EXPECT_THAT(Details(wire).details(), SizeIs(1));
  EXPECT_EQ(Details(wire).code(), 5);
  EXPECT_EQ(Details(wire).message(), "no such job");
}

TEST(GrpcStatus, FieldBecomesAViolation) {
  const grpc::Status wire =
      ToGrpcStatus(InvalidField("sequence.dasm.segments", "sum to 9, not 10"));
  EXPECT_EQ(Info(wire).reason(), "INVALID_FIELD");
  EXPECT_EQ(Info(wire).metadata().at("field"), "sequence.dasm.segments");
  google::rpc::BadRequest bad_request;
  ASSERT_THAT(Details(wire).details(), SizeIs(2));
  ASSERT_TRUE(Details(wire).details(1).UnpackTo(&bad_request));
  ASSERT_THAT(bad_request.field_violations(), SizeIs(1));
  EXPECT_EQ(bad_request.field_violations(0).field(), "sequence.dasm.segments");
  EXPECT_EQ(bad_request.field_violations(0).description(), "sum to 9, not 10");
}

TEST(GrpcStatus, FieldAndReasonComeBack) {
  const absl::Status back = FromGrpcStatus(ToGrpcStatus(
      WithReason(absl::AbortedError("superseded"), "STALE_FENCE", "fence")));
  EXPECT_EQ(back.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ReasonOf(back), "STALE_FENCE");
  EXPECT_EQ(FieldOf(back), "fence");
}

TEST(GrpcStatus, ErrorOfAnotherSenderIsTakenAsItIs) {
  const absl::Status plain = FromGrpcStatus(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "failed to connect"));
  EXPECT_EQ(plain.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(plain.message(), "failed to connect");
  EXPECT_EQ(ReasonOf(plain), "");
  const absl::Status garbage = FromGrpcStatus(grpc::Status(
      grpc::StatusCode::INTERNAL, "broken", std::string("\xff\xff\xff")));
  EXPECT_EQ(garbage.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(garbage.message(), "broken");
}

TEST(GrpcStatus, LongMessageFitsTheTrailers) {
  const grpc::Status wire = ToGrpcStatus(
      InvalidField(std::string(5000, 'f'), std::string(100'000, 'm')));
  // Three bytes for one escaped in grpc-message, four for three in the binary
  // details, of 8 KiB in all.
  EXPECT_LT(
      3 * wire.error_message().size() + wire.error_details().size() * 4 / 3,
      8000);
  EXPECT_THAT(wire.error_message(), EndsWith("mmm..."));
  EXPECT_EQ(FromGrpcStatus(wire).code(), absl::StatusCode::kInvalidArgument);
}

TEST(GrpcStatus, BytesThatAreNotUtf8AreEscaped) {
  // Sound: two, three and four bytes. Not: a lone continuation, an overlong
  // slash, a surrogate, beyond U+10FFFF, a cut sequence.
  const grpc::Status wire = ToGrpcStatus(absl::InvalidArgumentError(
      "ü€😀 \x80 \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82"));
  EXPECT_EQ(wire.error_message(),
            "ü€😀 \\200 \\300\\257 \\355\\240\\200 \\364\\220\\200\\200 "
            "\\342\\202");
  EXPECT_EQ(Details(wire).message(), wire.error_message());
}

TEST(GrpcStatus, CutDoesNotSplitACharacter) {
  std::string message;
  for (int i = 0; i < 1000; ++i) message += "€";
  const grpc::Status wire = ToGrpcStatus(absl::InternalError(message));
  std::string wanted;
  for (int i = 0; i < 333; ++i) wanted += "€";
  EXPECT_EQ(wire.error_message(), wanted + "...");
}

}  // namespace
}  // namespace dasm
