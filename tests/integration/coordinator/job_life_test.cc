// What a job goes through from its submit to its report or its cancellation,
// and what it says while it waits.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/manager/job_manager.h"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::kLease;
using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(JobLife, AJobRunsFromSubmitToReport) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 2);
  const std::string job = rig.Submit();
  EXPECT_EQ(rig.State(job), JobState::kQueued);
  const int finished = worker.RunAll();
  const JobView view = rig.Get(job);
  ASSERT_EQ(view.job.state, JobState::kSucceeded) << view.job.failure.message;
  EXPECT_EQ(view.job.tasks_done, view.job.tasks_total);
  EXPECT_EQ(view.job.numerics_class, "test-class");
  EXPECT_GT(finished, 8);
  for (const TaskView& task : view.tasks) {
    EXPECT_EQ(task.task.state, TaskState::kSucceeded) << task.task.id;
    EXPECT_EQ(task.action.attempts, 1) << task.task.id;
  }
  const auto report = nlohmann::json::parse(view.job.report_json);
  EXPECT_EQ(report["method"], "dasm");
  EXPECT_EQ(report["accuracy"].begin().value()["mean"], 57.5);
  EXPECT_EQ(report["learned_fraction"][0], 0.75);
  const std::vector<std::string> events = rig.EventTypes(job);
  EXPECT_EQ(events.front(), "job_created");
  EXPECT_EQ(events.back(), "job_succeeded");
  EXPECT_EQ(std::count(events.begin(), events.end(), "job_running"), 1);
  EXPECT_EQ(std::count(events.begin(), events.end(), "task_succeeded"),
            view.job.tasks_total);
  EXPECT_EQ(rig.Metric("dasm_job_transitions_total{to=\"SUCCEEDED\"}"), 1);
}

TEST(JobLife, AJobWithoutAWorkerSaysWhyItIsPending) {
  Rig rig;
  const std::string job = rig.Submit();
  EXPECT_EQ(rig.GetTask(job, "prepare").pending_reason,
            "no worker is connected");
  EXPECT_EQ(rig.GetTask(job, "assemble").pending_reason, "waiting for inputs");
  ScriptedWorker worker(&rig, "w", 0);
  worker.Synchronize();
  EXPECT_EQ(rig.GetTask(job, "prepare").pending_reason,
            "no worker is connected");
  worker.report.slots = 1;
  worker.Synchronize();
  EXPECT_EQ(rig.GetTask(job, "prepare").task.state, TaskState::kRunning);
  const std::string next = rig.Submit([] {
    v1::JobSpec spec = Rig::Spec();
    spec.set_salt("another");
    return spec;
  }());
  EXPECT_EQ(rig.GetTask(next, "prepare").pending_reason,
            "needs 1 slot, 0 free of 1");
}

TEST(JobLife, TheClassOfAJobIsThatOfTheLargestReadyWorkerAndStays) {
  Rig rig;
  ScriptedWorker small(&rig, "a", 1, "class-a");
  ScriptedWorker large(&rig, "b", 4, "class-b");
  small.Synchronize();
  large.Synchronize();
  const std::string job = rig.Submit();
  EXPECT_EQ(rig.Get(job).job.numerics_class, "class-b");
  EXPECT_THAT(small.Synchronize().assignments, IsEmpty());
  EXPECT_THAT(large.Synchronize().assignments, Not(IsEmpty()));
  // The class is gone: the job waits for it and says so.
  rig.clock.Advance(kLease);
  small.Synchronize();
  EXPECT_EQ(rig.GetTask(job, "prepare").pending_reason,
            "no worker of numerics class class-b");
}

TEST(JobLife, TheSameRequestTwiceMakesOneJob) {
  Rig rig;
  const std::string job = rig.Submit(Rig::Spec(), "request-1");
  const auto again =
      rig.manager->CreateJob("default", Rig::Spec(), "request-1", false);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->id, job);
  v1::JobSpec other = Rig::Spec();
  other.set_seed(9);
  const auto refused =
      rig.manager->CreateJob("default", other, "request-1", false);
  EXPECT_TRUE(absl::IsAlreadyExists(refused.status())) << refused.status();
  EXPECT_EQ(ReasonOf(refused.status()), "REQUEST_ID_REUSED");
  rig.Restart();
  EXPECT_EQ(
      rig.manager->CreateJob("default", Rig::Spec(), "request-1", false)->id,
      job);
  EXPECT_EQ(rig.store->ListJobs({"default", {}}, 10, "")->jobs.size(), 1u);
}

TEST(JobLife, ValidateOnlyCreatesNothing) {
  Rig rig;
  const auto job = rig.manager->CreateJob("default", Rig::Spec(), "", true);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->id, "");
  EXPECT_THAT(rig.store->ListJobs({"default", {}}, 10, "")->jobs, IsEmpty());
  v1::JobSpec wrong = Rig::Spec();
  wrong.set_images_per_class(1'000'000);
  EXPECT_FALSE(rig.manager->CreateJob("default", wrong, "", true).ok());
}

TEST(JobLife, ACancelTakesTheTaskFromItsWorkerAndFreesTheSlot) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  worker.SynchronizeOne();
  ASSERT_TRUE(rig.manager->CancelJob({"default", job}, "").ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  EXPECT_EQ(rig.manager->ListWorkers()[0].busy_slots, 0);
  const JobView view = rig.Get(job);
  for (const TaskView& task : view.tasks) {
    EXPECT_EQ(task.task.state, TaskState::kCancelled) << task.task.id;
  }
}

TEST(JobLife, AQueuedJobCanBeCancelledBeforeAnyWorkerCame) {
  Rig rig;
  const std::string job = rig.Submit();
  const auto cancelled = rig.manager->CancelJob({"default", job}, "");
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->state, JobState::kCancelled);
  ScriptedWorker worker(&rig, "w");
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(
      rig.manager->CancelJob({"default", "j000000000"}, "").status()));
}

TEST(JobLife, ManyQueuedJobsAreTakenInByAndByAndAllOfThemEnd) {
  Rig rig;
  for (int i = 0; i < 60; ++i) {
    v1::JobSpec spec = Rig::Spec();
    spec.set_salt(absl::StrCat(i % 20));
    spec.mutable_resources()->set_priority(i % 3);
    ASSERT_TRUE(rig.manager->CreateJob("default", spec, "", false).ok());
  }
  ScriptedWorker worker(&rig, "w", 16);
  worker.RunAll();
  const auto counts = rig.store->CountJobs();
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->at(JobState::kSucceeded), 60);
}

}  // namespace
}  // namespace dasm
