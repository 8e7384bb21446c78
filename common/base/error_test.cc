#include "common/base/error.h"

#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(Error, InvalidFieldNamesTheFieldAndTheReason) {
  const absl::Status status =
      InvalidField("sequence.dasm", "must not be empty");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "must not be empty");
  EXPECT_EQ(FieldOf(status), "sequence.dasm");
  EXPECT_EQ(ReasonOf(status), "INVALID_FIELD");
}

TEST(Error, PlainStatusHasNeitherFieldNorReason) {
  const absl::Status status = absl::NotFoundError("no such job");
  EXPECT_EQ(FieldOf(status), "");
  EXPECT_EQ(ReasonOf(status), "");
  EXPECT_EQ(FieldOf(WithReason(status, "STALE_FENCE")), "");
}

TEST(Error, ContextGoesInFrontAndKeepsTheRest) {
  const absl::Status status =
      WithContext(WithFailureClass(InvalidField("seed", "is negative"),
                                   FailureClass::kNumeric),
                  "job.yaml:3");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "job.yaml:3: is negative");
  EXPECT_EQ(FieldOf(status), "seed");
  EXPECT_EQ(ReasonOf(status), "INVALID_FIELD");
  EXPECT_EQ(FailureClassOf(status), FailureClass::kNumeric);
  EXPECT_TRUE(WithContext(absl::OkStatus(), "job.yaml").ok());
}

TEST(Error, LineForPeopleHasTheFieldWhereThereIsOne) {
  EXPECT_EQ(ErrorLine(InvalidField("seed", "is negative")),
            "error: seed: is negative");
  EXPECT_EQ(ErrorLine(absl::NotFoundError("no such job")),
            "error: no such job");
}

TEST(FailureClass, NamesParseBack) {
  for (const FailureClass failure :
       {FailureClass::kSpec, FailureClass::kData, FailureClass::kNumeric,
        FailureClass::kOomDevice, FailureClass::kOomHost,
        FailureClass::kDeviceFault, FailureClass::kCollective,
        FailureClass::kNodeLost, FailureClass::kStorage,
        FailureClass::kPreempted, FailureClass::kInternal}) {
    FailureClass parsed;
    ASSERT_TRUE(ParseFailureClass(FailureClassName(failure), &parsed));
    EXPECT_EQ(parsed, failure);
  }
  FailureClass untouched = FailureClass::kData;
  EXPECT_FALSE(ParseFailureClass("data", &untouched));
  EXPECT_EQ(untouched, FailureClass::kData);
}

TEST(FailureClass, FollowsFromTheCodeUnlessSet) {
  EXPECT_EQ(FailureClassOf(absl::ResourceExhaustedError("")),
            FailureClass::kOomHost);
  EXPECT_EQ(FailureClassOf(absl::InvalidArgumentError("")),
            FailureClass::kSpec);
  EXPECT_EQ(FailureClassOf(absl::DataLossError("")), FailureClass::kStorage);
  EXPECT_EQ(FailureClassOf(absl::UnknownError("")), FailureClass::kInternal);
  EXPECT_EQ(FailureClassOf(WithFailureClass(absl::ResourceExhaustedError(""),
                                            FailureClass::kOomDevice)),
            FailureClass::kOomDevice);
}

}  // namespace
}  // namespace dasm
