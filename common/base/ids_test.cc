#include "common/base/ids.h"

#include <set>
#include <string>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(Ids, UuidIsOfVersionFour) {
  EXPECT_THAT(NewUuid(), MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-"
                                      "[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(Ids, JobIdFitsAResourceName) {
  const std::string id = NewJobId();
  EXPECT_THAT(id, MatchesRegex("j[a-z0-9]{10}"));
  EXPECT_TRUE(JobName::Parse(id).ok());
}

TEST(Ids, DrawsDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(seen.insert(NewUuid()).second);
    EXPECT_TRUE(seen.insert(NewJobId()).second);
    EXPECT_TRUE(seen.insert(RandomHex(16)).second);
  }
}

TEST(Ids, HexHasTwoDigitsAByte) {
  EXPECT_EQ(RandomHex(0), "");
  EXPECT_THAT(RandomHex(3), MatchesRegex("[0-9a-f]{6}"));
}

TEST(JobName, TakesThreeForms) {
  for (const char* text : {"projects/default/jobs/j1-a", "jobs/j1-a", "j1-a"}) {
    const auto name = JobName::Parse(text);
    ASSERT_TRUE(name.ok()) << text;
    EXPECT_EQ(name->ToString(), "projects/default/jobs/j1-a");
  }
  const auto name = JobName::Parse("projects/vision/jobs/x");
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(name->project, "vision");
  EXPECT_EQ(name->job, "x");
}

TEST(JobName, RefusesAnythingElse) {
  for (const std::string text :
       {"", "/", "jobs/", "job/x", "projects/p/jobs", "projects//jobs/x",
        "projects/p/jobs/x/", "projects/p/tasks/x", "X", "-x", "x-", "x y",
        "../x", "x\n"}) {
    const absl::Status status = JobName::Parse(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_EQ(FieldOf(status), "name");
  }
  EXPECT_FALSE(JobName::Parse(std::string(64, 'x')).ok());
  EXPECT_THAT(std::string(JobName::Parse("Job 1").status().message()),
              HasSubstr("\"Job 1\""));
}

}  // namespace
}  // namespace dasm
