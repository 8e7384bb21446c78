#include "client/command/follow.h"

#include "absl/strings/str_cat.h"
#include "client/command/exit_code.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using testing::HasSubstr;

v1::JobEvent Progress(const std::string& task, int step, double loss) {
  v1::JobEvent event;
  event.set_type("task_progress");
  event.set_task(task);
  v1::Task* state = event.mutable_task_state();
  state->set_state(v1::Task::STATE_RUNNING);
  state->mutable_progress()->set_step(step);
  state->mutable_progress()->set_total_steps(40);
  state->mutable_progress()->set_steps_per_second(2);
  state->mutable_progress()->set_series("matching_loss");
  state->mutable_progress()->set_value(loss);
  return event;
}

TEST(ProgressView, ShowsStepLossCourseSpeedAndTimeLeft) {
  ProgressView view;
  EXPECT_EQ(view.Update(Progress("segment-2", 10, 4)), "");
  EXPECT_EQ(view.Update(Progress("segment-2", 20, 2)), "");
  const std::string line = view.Line(absl::UnixEpoch(), 120);
  EXPECT_THAT(line, HasSubstr("segment-2 20/40"));
  EXPECT_THAT(line, HasSubstr("  loss 2  █▁"));
  EXPECT_THAT(line, HasSubstr("left 10s"));
}

TEST(ProgressView, NamesTheAgeOfTheLastCheckpoint) {
  ProgressView view;
  view.Update(Progress("segment-1", 1, 4));
  v1::JobEvent checkpoint;
  checkpoint.set_type("checkpoint");
  checkpoint.set_task("segment-1");
  checkpoint.mutable_time()->set_seconds(1000);
  EXPECT_EQ(view.Update(checkpoint), "");
  EXPECT_THAT(view.Line(absl::FromUnixSeconds(1012), 120),
              HasSubstr("checkpoint 12s ago"));
}

TEST(ProgressView, ANarrowLineLosesWhatMattersLeastAndNeverWraps) {
  ProgressView view;
  const std::string id = "evaluate-synthetic-convnet-d3-w128-instance-12";
  for (int step = 1; step <= 30; ++step) view.Update(Progress(id, step, step));
  view.Update(Progress("segment-2", 10, 4));
  v1::JobEvent checkpoint;
  checkpoint.set_type("checkpoint");
  checkpoint.set_task(id);
  view.Update(checkpoint);
  for (int columns = 1; columns <= 160; ++columns) {
    EXPECT_LE(DisplayWidth(view.Line(absl::UnixEpoch(), columns)), columns);
  }
  EXPECT_EQ(view.Line(absl::UnixEpoch(), 160),
            "0/0 tasks  evaluate-synthetic-convnet-d3-w128-instance-12 30/40"
            "  loss 30  ▁▁▁▂▃▃▄▄▅▅▆▆▇▇██  2.00/s  left 5.0s"
            "  checkpoint 0.0s ago  (+1 more)");
  EXPECT_EQ(view.Line(absl::UnixEpoch(), 79),
            "0/0 tasks  evaluate-synt…-instance-12 30/40  loss 30  2.00/s"
            "  left 5.0s");
  EXPECT_EQ(view.Line(absl::UnixEpoch(), 59),
            "0/0 tasks  evaluate-…stance-12 30/40  loss 30  left 5.0s");
  EXPECT_EQ(view.Line(absl::UnixEpoch(), 35),
            "evaluate…ance-12 30/40  left 5.0s");
}

TEST(ProgressView, TellsTheTimeOfDayOfWhoeverReads) {
  ProgressView view(absl::FixedTimeZone(2 * 3600));
  v1::JobEvent event;
  event.set_type("job_running");
  event.mutable_time()->set_seconds(3600);
  EXPECT_EQ(view.Update(event), "03:00:00  job_running");
}

TEST(ProgressView, ForgetsATaskThatEnded) {
  ProgressView view;
  view.Update(Progress("segment-1", 1, 4));
  v1::JobEvent ended;
  ended.set_type("task_succeeded");
  ended.set_task("segment-1");
  ended.mutable_task_state()->set_state(v1::Task::STATE_SUCCEEDED);
  EXPECT_THAT(view.Update(ended), HasSubstr("task_succeeded  segment-1"));
  EXPECT_THAT(view.Line(absl::UnixEpoch(), 120),
              HasSubstr("waiting for a worker"));
}

TEST(ProgressView, AHundredExpertsAreAFewLines) {
  v1::Job job;
  for (int i = 1; i <= 100; ++i) {
    job.add_tasks()->set_name(
        absl::StrCat("projects/default/jobs/j1/tasks/experts-", i));
  }
  job.add_tasks()->set_name("projects/default/jobs/j1/tasks/segment-1");
  ProgressView view(absl::UTCTimeZone());
  view.Expect(job);
  std::vector<std::string> lines;
  const auto tell = [&](const std::string& type, const std::string& task,
                        v1::Task::State state) {
    v1::JobEvent event;
    event.set_type(type);
    event.set_task(task);
    event.mutable_task_state()->set_state(state);
    const std::string line = view.Update(event);
    if (!line.empty()) lines.push_back(line);
  };
  for (int i = 1; i <= 100; ++i) {
    const std::string id = absl::StrCat("experts-", i);
    tell("task_running", id, v1::Task::STATE_RUNNING);
    if (i == 38) {
      view.Update(Progress(id, 20, 0.5));
      EXPECT_THAT(view.Line(absl::UnixEpoch(), 80),
                  HasSubstr("experts-38 (37/100 done) 20/40  loss 0.5"));
    }
    tell("task_succeeded", id, v1::Task::STATE_SUCCEEDED);
  }
  tell("task_running", "segment-1", v1::Task::STATE_RUNNING);
  ASSERT_EQ(lines.size(), 12);
  EXPECT_EQ(lines[0], "00:00:00  task_running  experts  100 tasks");
  EXPECT_EQ(lines[1], "00:00:00  task_succeeded  experts  10/100");
  EXPECT_EQ(lines[10], "00:00:00  task_succeeded  experts  100/100");
  EXPECT_EQ(lines[11], "00:00:00  task_running  segment-1");
}

TEST(ExitCode, FollowsTheTableOfTheReadme) {
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), 2);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), 3);
  EXPECT_EQ(ExitCodeOf(absl::UnauthenticatedError("")), 4);
  EXPECT_EQ(ExitCodeOf(absl::FailedPreconditionError("")), 5);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), 6);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("")), 1);
  EXPECT_EQ(ExitCodeOf(v1::Job::STATE_FAILED), 10);
  EXPECT_EQ(ExitCodeOf(v1::Job::STATE_CANCELLED), 11);
}

}  // namespace
}  // namespace dasm
