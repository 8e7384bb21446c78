#include "common/base/logging.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::EndsWith;
using ::testing::MatchesRegex;

class Logging : public testing::Test {
 protected:
  void SetUp() override {
    InitLogging("dasm-test", LogSeverity::INFO);
    testing::internal::CaptureStderr();
  }
  void TearDown() override {
    if (!taken_) testing::internal::GetCapturedStderr();
  }
  std::string Taken() {
    taken_ = true;
    return testing::internal::GetCapturedStderr();
  }

 private:
  bool taken_ = false;
};

TEST_F(Logging, LineHasTimeSeverityProgramMessageAndValues) {
  DASM_LOG(WARNING, "lease expired").Kv("task", "t1").Kv("fence", 7);
  EXPECT_THAT(Taken(),
              MatchesRegex("[0-9-]{10}T[0-9:]{8}\\.[0-9]{6}Z W dasm-test "
                           "lease expired task=t1 fence=7\n"));
}

TEST_F(Logging, ValuesThatWouldConfuseAreQuoted) {
  DASM_LOG(ERROR, "m").Kv("a", "").Kv("b", "two words").Kv("c", "x=\"y\"\\");
  EXPECT_THAT(Taken(),
              EndsWith(" m a=\"\" b=\"two words\" c=\"x=\\\"y\\\"\\\\\"\n"));
}

TEST_F(Logging, ValueCannotForgeALineOrDriveATerminal) {
  DASM_LOG(ERROR, "m").Kv("a", "x\ny\r\x1b[2J");
  EXPECT_THAT(Taken(), EndsWith(" m a=\"x\\ny\\x0d\\x1b[2J\"\n"));
}

TEST_F(Logging, LinesBelowTheSeverityAreDropped) {
  DASM_LOG(DEBUG, "hidden");
  InitLogging("dasm-test", LogSeverity::ERROR);
  DASM_LOG(WARNING, "hidden");
  EXPECT_EQ(Taken(), "");
}

TEST_F(Logging, SeveritiesParse) {
  LogSeverity severity;
  ASSERT_TRUE(ParseLogSeverity("debug", &severity));
  EXPECT_EQ(severity, LogSeverity::DEBUG);
  ASSERT_TRUE(ParseLogSeverity("error", &severity));
  EXPECT_EQ(severity, LogSeverity::ERROR);
  EXPECT_FALSE(ParseLogSeverity("Error", &severity));
}

TEST(LoggingDeathTest, BrokenInvariantEndsTheProcess) {
  const int one = 1;
  DASM_CHECK(one == 1);
  EXPECT_DEATH(DASM_CHECK(one == 2), "check failed: one == 2");
}

}  // namespace
}  // namespace dasm
