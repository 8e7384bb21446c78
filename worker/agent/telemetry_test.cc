#include "worker/agent/telemetry.h"

#include "common/base/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/agent/fake_coordinator_link.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

class TelemetryTest : public ::testing::Test {
 protected:
  TelemetryTest() {
    Telemetry::Options options;
    options.worker = "w";
    options.period = absl::ZeroDuration();
    options.max_waiting = 3;
    telemetry_ = std::make_unique<Telemetry>(options, &coordinator_, &clock_);
  }
  void AddPoint(int64_t step) {
    worker::v1::Point point;
    point.set_series("matching_loss");
    point.set_step(step);
    telemetry_->AddPoint(attempt_, point);
  }

  FakeClock clock_;
  FakeCoordinatorLink coordinator_;
  std::unique_ptr<Telemetry> telemetry_;
  const Telemetry::Attempt attempt_ = {"task", 4};
};

TEST_F(TelemetryTest, SendsOneBatchAnAttempt) {
  AddPoint(1);
  AddPoint(2);
  telemetry_->AddLine(attempt_, "INFO", "hello");
  v1::Progress progress;
  progress.set_step(2);
  telemetry_->AddProgress(attempt_, progress);
  ASSERT_TRUE(telemetry_->Flush(attempt_).ok());
  ASSERT_EQ(coordinator_.telemetry().size(), 1);
  const auto sent = coordinator_.telemetry()[0];
  EXPECT_EQ(sent.task(), "task");
  EXPECT_EQ(sent.fence(), 4);
  EXPECT_EQ(sent.points_size(), 2);
  EXPECT_EQ(sent.lines(0).sequence(), 1);
  EXPECT_EQ(sent.progress().step(), 2);
  ASSERT_TRUE(telemetry_->Flush(attempt_).ok());
  EXPECT_EQ(coordinator_.telemetry().size(), 1) << "sent twice";
}

TEST_F(TelemetryTest, KeepsOrderAndNumbersOverAFailure) {
  telemetry_->AddLine(attempt_, "INFO", "first");
  coordinator_.FailWith(absl::UnavailableError("no route"));
  EXPECT_TRUE(absl::IsUnavailable(telemetry_->Flush(attempt_)));
  telemetry_->AddLine(attempt_, "INFO", "second");
  coordinator_.FailWith(absl::OkStatus());
  ASSERT_TRUE(telemetry_->Flush(attempt_).ok());
  const auto sent = coordinator_.telemetry()[0];
  ASSERT_EQ(sent.lines_size(), 2);
  EXPECT_EQ(sent.lines(0).text(), "first");
  EXPECT_EQ(sent.lines(0).sequence(), 1);
  EXPECT_EQ(sent.lines(1).sequence(), 2);
}

TEST_F(TelemetryTest, DropsTheOldestAndSaysSo) {
  for (int step = 1; step <= 5; ++step) AddPoint(step);
  ASSERT_TRUE(telemetry_->Flush(attempt_).ok());
  const auto sent = coordinator_.telemetry()[0];
  ASSERT_EQ(sent.points_size(), 3);
  EXPECT_EQ(sent.points(0).step(), 3);
  ASSERT_EQ(sent.lines_size(), 1);
  EXPECT_THAT(sent.lines(0).text(), HasSubstr("2 older"));
}

TEST_F(TelemetryTest, MemoryIsSentOnceWithItsRankAndSurvivesAFailure) {
  const Telemetry::Attempt second = {"task", 4, 1};
  v1::RankMemory memory;
  memory.set_host_bytes(500);
  coordinator_.FailWith(absl::UnavailableError("no route"));
  telemetry_->SetMemory(second, memory);
  EXPECT_TRUE(absl::IsUnavailable(telemetry_->Flush(second)));
  telemetry_->End(second);
  coordinator_.FailWith(absl::OkStatus());
  ASSERT_TRUE(telemetry_->Flush(second).ok());
  ASSERT_TRUE(telemetry_->Flush(second).ok());
  ASSERT_EQ(coordinator_.telemetry().size(), 1);
  EXPECT_EQ(coordinator_.telemetry()[0].memory().rank(), 1);
  EXPECT_EQ(coordinator_.telemetry()[0].memory().host_bytes(), 500);
}

TEST_F(TelemetryTest, DropsWhatIsRefusedForGood) {
  AddPoint(1);
  coordinator_.FailWith(absl::AbortedError("stale"));
  EXPECT_TRUE(absl::IsAborted(telemetry_->Flush(attempt_)));
  coordinator_.FailWith(absl::OkStatus());
  AddPoint(2);
  ASSERT_TRUE(telemetry_->Flush(attempt_).ok());
  ASSERT_EQ(coordinator_.telemetry()[0].points_size(), 1);
  EXPECT_EQ(coordinator_.telemetry()[0].points(0).step(), 2);
}

TEST_F(TelemetryTest, TheRestOfAnEndedAttemptIsStillSent) {
  AddPoint(1);
  telemetry_->End(attempt_);
  ASSERT_TRUE(telemetry_->Flush(attempt_).ok());
  EXPECT_EQ(coordinator_.telemetry().size(), 1);
}

}  // namespace
}  // namespace dasm
