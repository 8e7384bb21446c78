#include "worker/runner/reporting_observer.h"

#include <stdlib.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/fake_clock.h"
#include "gtest/gtest.h"
#include "worker/runner/checkpoint.h"
#include "worker/runner/fake_agent_channel.h"

namespace dasm {
namespace {

using Wish = TaskObserver::Wish;

class ReportingObserverTest : public ::testing::Test {
 protected:
  ReportingObserverTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/observer-XXXXXX");
    directory_ = mkdtemp(folder.data());
    std::filesystem::create_directory(directory_ + "/ckpt");
    ReportingObserver::Options options;
    options.action = "key";
    options.task_directory = directory_;
    options.checkpoint_interval = absl::Seconds(60);
    options.seconds_before = 100;
    options_ = options;
    observer_ = std::make_unique<ReportingObserver>(options, &agent_, &clock_);
  }
  ~ReportingObserverTest() override { std::filesystem::remove_all(directory_); }

  std::string directory_;
  FakeClock clock_;
  FakeAgentChannel agent_;
  ReportingObserver::Options options_;
  std::unique_ptr<ReportingObserver> observer_;
};

TEST_F(ReportingObserverTest, ThrottlesProgressButNotTheLastStep) {
  for (int step = 1; step <= 10; ++step) {
    observer_->Progress(step, 10, 0.5, "matching_loss");
  }
  const auto sent = agent_.sent();
  ASSERT_EQ(sent.size(), 2);
  EXPECT_EQ(sent[0].progress().step(), 1);
  EXPECT_EQ(sent[1].progress().step(), 10);
}

TEST_F(ReportingObserverTest, TellsStepsASecond) {
  observer_->Progress(10, 1000, 0.5, "matching_loss");
  clock_.Advance(absl::Seconds(2));
  observer_->Progress(18, 1000, 0.5, "matching_loss");
  ASSERT_EQ(agent_.sent().size(), 2);
  EXPECT_EQ(agent_.sent()[0].progress().steps_per_second(), 0);
  EXPECT_DOUBLE_EQ(agent_.sent()[1].progress().steps_per_second(), 4);
}

TEST_F(ReportingObserverTest, SendsEveryPointWithItsTime) {
  for (int step = 1; step <= 10; ++step) observer_->Point("loss", step, 0.5);
  ASSERT_EQ(agent_.sent().size(), 10);
  EXPECT_EQ(agent_.sent()[9].point().step(), 10);
  EXPECT_EQ(agent_.sent()[9].point().time_unix_micros(),
            absl::ToUnixMicros(clock_.Now()));
}

TEST_F(ReportingObserverTest, ACheckpointIsDueByTimeOrWhenAsked) {
  EXPECT_EQ(observer_->Poll(), Wish::kNone);
  clock_.Advance(absl::Seconds(60));
  EXPECT_EQ(observer_->Poll(), Wish::kCheckpoint);
  ASSERT_TRUE(observer_->WriteCheckpoint(7, {}).ok());
  ASSERT_TRUE(observer_->Finish().ok());
  EXPECT_EQ(observer_->Poll(), Wish::kNone);
  agent_.RequestCheckpoint();
  EXPECT_EQ(observer_->Poll(), Wish::kCheckpoint);
  EXPECT_EQ(observer_->Poll(), Wish::kNone);
  agent_.RequestStop();
  EXPECT_EQ(observer_->Poll(), Wish::kStop);
}

TEST_F(ReportingObserverTest, ACheckpointIsDueAfterSoManyStepsToo) {
  options_.checkpoint_steps = 3;
  ReportingObserver observer(options_, &agent_, &clock_);
  EXPECT_EQ(observer.Poll(), Wish::kNone);
  EXPECT_EQ(observer.Poll(), Wish::kNone);
  EXPECT_EQ(observer.Poll(), Wish::kCheckpoint);
  ASSERT_TRUE(observer.WriteCheckpoint(3, {}).ok());
  ASSERT_TRUE(observer.Finish().ok());
  EXPECT_EQ(observer.Poll(), Wish::kNone);
  // Time counts beside it, and both from the last checkpoint.
  clock_.Advance(absl::Seconds(60));
  EXPECT_EQ(observer.Poll(), Wish::kCheckpoint);
  ASSERT_TRUE(observer.WriteCheckpoint(5, {}).ok());
  ASSERT_TRUE(observer.Finish().ok());
  EXPECT_EQ(observer.Poll(), Wish::kNone);
  EXPECT_EQ(observer.Poll(), Wish::kNone);
  EXPECT_EQ(observer.Poll(), Wish::kCheckpoint);
}

TEST_F(ReportingObserverTest, CountsSecondsOverAttempts) {
  clock_.Advance(absl::Seconds(5));
  ASSERT_TRUE(observer_->WriteCheckpoint(7, {}).ok());
  ASSERT_TRUE(observer_->Finish().ok());
  const auto message = agent_.sent().at(0).checkpoint();
  EXPECT_EQ(message.step(), 7);
  EXPECT_DOUBLE_EQ(message.seconds(), 105);
  const auto info =
      ReadCheckpointInfo(directory_ + "/" + message.file(), "key");
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_DOUBLE_EQ(info->seconds, 105);
}

TEST_F(ReportingObserverTest, AnUnwritableFolderIsAStorageFailure) {
  std::filesystem::remove(directory_ + "/ckpt");
  ASSERT_TRUE(observer_->WriteCheckpoint(7, {}).ok());
  const absl::Status status = observer_->WriteCheckpoint(8, {});
  EXPECT_EQ(FailureClassOf(status), FailureClass::kStorage);
  EXPECT_EQ(FailureClassOf(observer_->Finish()), FailureClass::kStorage);
  EXPECT_TRUE(agent_.sent().empty());
}

}  // namespace
}  // namespace dasm
