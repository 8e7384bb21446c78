// The job manager over real stores: what a job goes through, and what faults of
// workers, blobs, store and coordinator do to it.
#include "server/manager/job_manager.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::kLease;
using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// The only assignment of `worker`, after a round.
WorkOrder Only(ScriptedWorker* worker) {
  const Orders orders = worker->Synchronize();
  EXPECT_THAT(orders.assignments, SizeIs(1));
  return orders.assignments.empty() ? WorkOrder{} : orders.assignments[0];
}

TEST(JobManager, AJobRunsFromSubmitToReport) {
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

TEST(JobManager, AJobWithoutAWorkerSaysWhyItIsPending) {
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

TEST(JobManager, TheClassOfAJobIsThatOfTheLargestReadyWorkerAndStays) {
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

TEST(JobManager, TheSameRequestTwiceMakesOneJob) {
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

TEST(JobManager, ValidateOnlyCreatesNothing) {
  Rig rig;
  const auto job = rig.manager->CreateJob("default", Rig::Spec(), "", true);
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(job->id, "");
  EXPECT_THAT(rig.store->ListJobs({"default", {}}, 10, "")->jobs, IsEmpty());
  v1::JobSpec wrong = Rig::Spec();
  wrong.set_images_per_class(1'000'000);
  EXPECT_FALSE(rig.manager->CreateJob("default", wrong, "", true).ok());
}

TEST(JobManager, AResultOfAnOlderAttemptIsRefused) {
  Rig rig;
  ScriptedWorker lost(&rig, "lost");
  const std::string job = rig.Submit();
  const WorkOrder old = Only(&lost);
  rig.clock.Advance(kLease);
  ScriptedWorker next(&rig, "next");
  const WorkOrder current = Only(&next);
  EXPECT_EQ(current.action.key, old.action.key);
  EXPECT_GT(current.action.fence, old.action.fence);
  const absl::Status late = lost.Finish(old);
  EXPECT_TRUE(absl::IsAborted(late)) << late;
  EXPECT_EQ(ReasonOf(late), "STALE_FENCE");
  EXPECT_EQ(ReasonOf(lost.Checkpoint(old, 5)), "STALE_FENCE");
  EXPECT_EQ(ReasonOf(lost.Fail(old, FailureClass::kInternal)), "STALE_FENCE");
  // The worker that returns is told to end it.
  EXPECT_THAT(lost.Synchronize().assignments, IsEmpty());
  EXPECT_TRUE(next.Finish(current).ok());
  EXPECT_EQ(rig.GetTask(job, "prepare").task.state, TaskState::kSucceeded);
  EXPECT_EQ(rig.Metric("dasm_lease_expirations_total"), 1);
  EXPECT_EQ(rig.Metric("dasm_fence_rejections_total"), 3);
}

TEST(JobManager, ALeaseIsRenewedByReceiptOfACall) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = Only(&worker);
  for (int i = 0; i < 5; ++i) {
    rig.clock.Advance(kLease - absl::Milliseconds(1));
    EXPECT_EQ(Only(&worker).action.fence, order.action.fence);
  }
  rig.clock.JumpWall(absl::Hours(24));
  EXPECT_EQ(Only(&worker).action.fence, order.action.fence);
}

TEST(JobManager, ARestartedWorkerLosesItsAttemptAtOnce) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder before = Only(&worker);
  worker.Restart();
  const WorkOrder after = Only(&worker);
  EXPECT_EQ(after.action.key, before.action.key);
  EXPECT_EQ(after.action.fence, before.action.fence + 1);
  EXPECT_EQ(after.action.retries.at("NODE_LOST"), 1);
}

TEST(JobManager, AResultIsTakenOnceAndItsRepetitionAcknowledged) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = Only(&worker);
  EXPECT_TRUE(worker.Finish(order).ok());
  EXPECT_TRUE(worker.Finish(order).ok());
  rig.Restart();
  EXPECT_TRUE(worker.Finish(order).ok());
  const auto events = rig.EventTypes(job);
  EXPECT_EQ(std::count(events.begin(), events.end(), "task_succeeded"), 1);
  // Other bytes under the same fence are not the same result.
  const std::string other = *WriteBlob(rig.blobs.get(), "other bytes");
  const absl::Status differs =
      rig.manager->CommitResult("w", order.action.key, order.action.fence,
                                {{"dataset", {{other, 11}}}}, "{}", 1);
  EXPECT_EQ(ReasonOf(differs), "STALE_FENCE");
}

TEST(JobManager, AResultWithoutItsBlobsIsRefusedAndTakenWhenTheyAreThere) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = Only(&worker);
  const std::string absent = absl::StrCat("sha256:", std::string(64, 'a'));
  const absl::Status missing =
      rig.manager->CommitResult("w", order.action.key, order.action.fence,
                                {{"dataset", {{absent, 1}}}}, "{}", 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(missing)) << missing;
  EXPECT_EQ(ReasonOf(missing), "MISSING_BLOBS");
  EXPECT_THAT(std::string(missing.message()), HasSubstr(absent));
  EXPECT_TRUE(worker.Finish(order).ok());
}

TEST(JobManager, AResultAfterTheCancelEntersTheCacheAndTheJobStaysCancelled) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = Only(&worker);
  const auto cancelled = rig.manager->CancelJob({"default", job}, "not needed");
  ASSERT_TRUE(cancelled.ok()) << cancelled.status();
  EXPECT_EQ(cancelled->state, JobState::kCancelled);
  ASSERT_TRUE(worker.Finish(order).ok());
  EXPECT_EQ(rig.State(job), JobState::kCancelled);
  // Idempotent, and the end stays what it was.
  EXPECT_EQ(rig.manager->CancelJob({"default", job}, "again")->state,
            JobState::kCancelled);
  const std::string next = rig.Submit();
  worker.Synchronize();
  EXPECT_TRUE(rig.GetTask(next, "prepare").task.cached);
}

TEST(JobManager, ACancelTakesTheTaskFromItsWorkerAndFreesTheSlot) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  Only(&worker);
  ASSERT_TRUE(rig.manager->CancelJob({"default", job}, "").ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  EXPECT_EQ(rig.manager->ListWorkers()[0].busy_slots, 0);
  const JobView view = rig.Get(job);
  for (const TaskView& task : view.tasks) {
    EXPECT_EQ(task.task.state, TaskState::kCancelled) << task.task.id;
  }
}

TEST(JobManager, AQueuedJobCanBeCancelledBeforeAnyWorkerCame) {
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

TEST(JobManager, TwoJobsShareOneRunAndACancelReleasesOneClaimOnly) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  const std::string first = rig.Submit();
  const std::string second = rig.Submit();
  const WorkOrder shared = Only(&worker);
  EXPECT_EQ(rig.Metric("dasm_action_cache_requests_total{result=\"joined\"}"),
            1);
  ASSERT_TRUE(rig.manager->CancelJob({"default", first}, "").ok());
  EXPECT_EQ(Only(&worker).action.fence, shared.action.fence);
  std::set<std::string> ran;
  for (Orders orders = worker.Synchronize(); !orders.assignments.empty();
       orders = worker.Synchronize()) {
    for (const WorkOrder& order : orders.assignments) {
      EXPECT_TRUE(ran.insert(order.action.key).second) << "ran twice";
      ASSERT_TRUE(worker.Finish(order).ok());
    }
  }
  EXPECT_EQ(rig.State(first), JobState::kCancelled);
  EXPECT_EQ(rig.State(second), JobState::kSucceeded);
}

TEST(JobManager, ASharedTaskRunsAtTheHighestPriorityOfItsJobs) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  v1::JobSpec blocker = Rig::Spec();
  blocker.set_salt("blocker");
  rig.Submit(blocker);
  const WorkOrder running = Only(&worker);
  v1::JobSpec plain = Rig::Spec();
  plain.set_salt("plain");
  plain.mutable_resources()->set_priority(5);
  rig.Submit(plain);
  v1::JobSpec urgent = Rig::Spec();  // the same tasks as the next one
  const std::string low = rig.Submit(urgent);
  urgent.mutable_resources()->set_priority(9);
  rig.Submit(urgent);
  ASSERT_TRUE(worker.Finish(running).ok());
  const WorkOrder next = Only(&worker);
  EXPECT_EQ(next.action.key, rig.GetTask(low, "prepare").task.action_key);
}

TEST(JobManager, ASharedTaskIsCheckpointedAsOftenAsAnyOfItsJobsAsks) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  v1::JobSpec spec = Rig::Spec();
  rig.Submit(spec);  // by time only
  spec.mutable_resources()->set_checkpoint_interval(7);
  spec.mutable_resources()->set_checkpoint_steps(50);
  rig.Submit(spec);
  spec.mutable_resources()->set_checkpoint_steps(500);
  rig.Submit(spec);
  const WorkOrder order = Only(&worker);
  EXPECT_EQ(order.action.checkpoint_steps, 50);
  EXPECT_FLOAT_EQ(order.action.checkpoint_interval, 0.2);
}

TEST(JobManager, AFinishedResultServesTheNextJobWithoutRunningAnything) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 2);
  const std::string first = rig.Submit();
  worker.RunAll();
  v1::JobSpec renamed = Rig::Spec();
  renamed.set_name("other name");
  renamed.mutable_resources()->set_priority(3);
  const std::string second = rig.Submit(renamed);
  EXPECT_EQ(worker.RunAll(), 0);
  const JobView view = rig.Get(second);
  EXPECT_EQ(view.job.state, JobState::kSucceeded);
  for (const TaskView& task : view.tasks) EXPECT_TRUE(task.task.cached);
  EXPECT_EQ(nlohmann::json::parse(view.job.report_json)["digest"],
            nlohmann::json::parse(rig.Get(first).job.report_json)["digest"]);
}

TEST(JobManager, AnIncompleteResultIsMadeAgain) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 2);
  const std::string first = rig.Submit();
  worker.RunAll();
  const TaskView segment = rig.GetTask(first, "segment-1");
  ASSERT_TRUE(
      rig.blobs->Remove(segment.action.outputs.at("segment").blob.digest).ok());
  const std::string second = rig.Submit();
  EXPECT_EQ(worker.RunAll(), 1);
  EXPECT_EQ(rig.State(second), JobState::kSucceeded);
  EXPECT_FALSE(rig.GetTask(second, "segment-1").task.cached);
  EXPECT_EQ(
      rig.Metric("dasm_action_cache_requests_total{result=\"incomplete\"}"), 1);
}

TEST(JobManager, ABadBlobOfAFinishedJobIsMadeAgainAndTheJobStaysDone) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  worker.RunAll();
  const std::string digest =
      rig.GetTask(job, "assemble").action.outputs.at("synthetic").blob.digest;
  ASSERT_TRUE(rig.blobs->Remove(digest).ok());
  rig.manager->ReportBadBlob(digest);
  const WorkOrder again = Only(&worker);
  EXPECT_EQ(again.action.kind, "assemble");
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
  ASSERT_TRUE(worker.Finish(again).ok());
  EXPECT_TRUE(rig.blobs->Verify(digest).ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
}

TEST(JobManager, ATaskWaitsWhileItsLostInputIsMadeAgain) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  ASSERT_TRUE(worker.Finish(Only(&worker)).ok());
  const WorkOrder consumer = Only(&worker);
  ASSERT_FALSE(consumer.action.inputs.empty());
  const std::string input = consumer.action.inputs.begin()->second.digest;
  ASSERT_TRUE(rig.blobs->Remove(input).ok());
  rig.manager->ReportBadBlob(input);
  ASSERT_TRUE(worker.Fail(consumer, FailureClass::kStorage).ok());
  rig.clock.Advance(absl::Seconds(2));
  const WorkOrder producer = Only(&worker);
  EXPECT_EQ(producer.action.kind, "prepare_dataset");
  ASSERT_TRUE(worker.Finish(producer).ok());
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

TEST(JobManager, ABadCheckpointIsForgottenAndTheOlderOneUsed) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = Only(&worker);
  ASSERT_TRUE(worker.Checkpoint(order, 10).ok());
  ASSERT_TRUE(worker.Checkpoint(order, 20).ok());
  const std::string newest = Only(&worker).action.checkpoints[0].blob.digest;
  rig.manager->ReportBadBlob(newest);
  rig.Settle();
  const WorkOrder after = Only(&worker);
  ASSERT_THAT(after.action.checkpoints, SizeIs(1));
  EXPECT_EQ(after.action.checkpoints[0].step, 10);
}

TEST(JobManager, TheTwoNewestCheckpointsAreKeptAndTheirBlobsOnly) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = Only(&worker);
  std::vector<std::string> digests;
  for (int step : {10, 20, 30}) {
    ASSERT_TRUE(worker.Checkpoint(order, step).ok());
    digests.push_back(Only(&worker).action.checkpoints[0].blob.digest);
  }
  EXPECT_THAT(rig.blobs->FindMissing(digests),
              ::testing::ElementsAre(digests[0]));
  // One that is not newer changes nothing.
  ASSERT_TRUE(worker.Checkpoint(order, 25).ok());
  EXPECT_EQ(Only(&worker).action.checkpoints[0].step, 30);
  ASSERT_TRUE(worker.Finish(order).ok());
  EXPECT_THAT(rig.blobs->FindMissing(digests), SizeIs(3));
}

TEST(JobManager, ABudgetEndsTheJobAndACheckpointRestoresIt) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(worker.Fail(Only(&worker), FailureClass::kCollective).ok());
  }
  ASSERT_TRUE(worker.Checkpoint(Only(&worker), 100).ok());
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(worker.Fail(Only(&worker), FailureClass::kCollective).ok());
  }
  EXPECT_EQ(rig.State(job), JobState::kRunning);
  ASSERT_TRUE(
      worker.Fail(Only(&worker), FailureClass::kCollective, "the last").ok());
  const JobView view = rig.Get(job);
  EXPECT_EQ(view.job.state, JobState::kFailed);
  EXPECT_EQ(view.job.failure.failure_class, "COLLECTIVE");
  EXPECT_EQ(view.job.failure.task, "prepare");
  EXPECT_EQ(view.job.failure.message, "the last");
  for (const TaskView& task : view.tasks) {
    EXPECT_EQ(task.task.state, task.task.id == "prepare"
                                   ? TaskState::kFailed
                                   : TaskState::kCancelled);
  }
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  EXPECT_EQ(rig.Metric("dasm_retries_total{cause=\"COLLECTIVE\"}"), 10);
  // A new job starts with a whole budget and the checkpoint.
  rig.Submit();
  const WorkOrder again = Only(&worker);
  EXPECT_EQ(again.action.checkpoints[0].step, 100);
  EXPECT_THAT(again.action.retries, IsEmpty());
}

TEST(JobManager, NumericFailsAtOnceAndPreemptionNever) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(worker.Fail(Only(&worker), FailureClass::kPreempted).ok());
  }
  EXPECT_EQ(rig.State(job), JobState::kRunning);
  ASSERT_TRUE(
      worker.Fail(Only(&worker), FailureClass::kNumeric, "step 7").ok());
  EXPECT_EQ(rig.State(job), JobState::kFailed);
}

TEST(JobManager, AStorageFailureBacksOffAndSaysUntilWhenAndWhy) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  ASSERT_TRUE(
      worker.Fail(Only(&worker), FailureClass::kStorage, "/w is full").ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  EXPECT_THAT(rig.GetTask(job, "prepare").pending_reason,
              AllOf(StartsWith("back-off until 2023-"),
                    EndsWith(" after STORAGE: /w is full")));
  rig.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(Only(&worker).action.fence, 2u);
}

TEST(JobManager, ADeviceFaultIsTriedOnAnotherWorker) {
  Rig rig;
  ScriptedWorker broken(&rig, "a");
  ScriptedWorker sound(&rig, "b");
  rig.Submit();
  const WorkOrder order = Only(&broken);
  sound.Synchronize();
  ASSERT_TRUE(broken.Fail(order, FailureClass::kDeviceFault).ok());
  EXPECT_THAT(broken.Synchronize().assignments, IsEmpty());
  EXPECT_EQ(Only(&sound).action.key, order.action.key);
}

TEST(JobManager, ADrainedWorkerIsAskedToReleaseAndTakesNothingNew) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = Only(&worker);
  ASSERT_TRUE(rig.manager->DrainWorker("w", true).ok());
  const Orders draining = worker.Synchronize();
  EXPECT_TRUE(draining.draining);
  ASSERT_THAT(draining.release, SizeIs(1));
  EXPECT_EQ(draining.release[0].key, order.action.key);
  ASSERT_TRUE(worker.Fail(order, FailureClass::kPreempted).ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  // The operator's wish outlives the coordinator.
  rig.Restart();
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  EXPECT_EQ(rig.GetTask(job, "prepare").pending_reason,
            "no worker is connected");
  ASSERT_TRUE(rig.manager->DrainWorker("w", false).ok());
  EXPECT_THAT(worker.Synchronize().assignments, SizeIs(1));
  EXPECT_EQ(ReasonOf(rig.manager->DrainWorker("nobody", true).status()),
            "WORKER_NOT_FOUND");
}

TEST(JobManager, ARestartInTheMiddleKeepsAttemptsAndResults) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 2);
  const std::string job = rig.Submit();
  ASSERT_TRUE(worker.Finish(Only(&worker)).ok());
  const Orders before = worker.Synchronize();
  ASSERT_FALSE(before.assignments.empty());
  rig.Restart();
  // Within the fresh lease nothing is taken from the worker, silent or not.
  rig.clock.Advance(kLease - absl::Milliseconds(1));
  rig.Settle();
  const Orders after = worker.Synchronize();
  ASSERT_EQ(after.assignments.size(), before.assignments.size());
  for (size_t i = 0; i < after.assignments.size(); ++i) {
    EXPECT_EQ(after.assignments[i].action.fence,
              before.assignments[i].action.fence);
  }
  EXPECT_NE(after.generation, before.generation);
  ASSERT_TRUE(worker.Finish(before.assignments[0]).ok());
  rig.Restart();
  worker.RunAll();
  const JobView view = rig.Get(job);
  EXPECT_EQ(view.job.state, JobState::kSucceeded) << view.job.failure.message;
  for (const TaskView& task : view.tasks) {
    EXPECT_EQ(task.action.attempts, 1) << task.task.id;
  }
}

TEST(JobManager, AWorkerThatStaysSilentAfterARestartLosesItsTask) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder old = Only(&worker);
  rig.Restart();
  ScriptedWorker other(&rig, "x");
  EXPECT_THAT(other.Synchronize().assignments, IsEmpty());
  rig.clock.Advance(kLease);
  EXPECT_EQ(Only(&other).action.fence, old.action.fence + 1);
}

TEST(JobManager, AFailedCommitLosesNothingThatWasAcknowledged) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = Only(&worker);
  rig.store->Inject(FaultyJobStore::Method::kCommit,
                    {.status = absl::ResourceExhaustedError("disk full")});
  const absl::Status failed = worker.Finish(order);
  EXPECT_TRUE(absl::IsResourceExhausted(failed)) << failed;
  // Not believed until read again.
  EXPECT_TRUE(absl::IsUnavailable(worker.Finish(order)));
  EXPECT_NE(rig.manager->Readiness(), "");
  rig.Settle();
  EXPECT_EQ(rig.manager->Readiness(), "");
  EXPECT_EQ(rig.GetTask(job, "prepare").task.state, TaskState::kRunning);
  EXPECT_EQ(Only(&worker).action.fence, order.action.fence);
  ASSERT_TRUE(worker.Finish(order).ok());
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

TEST(JobManager, ACommitThatWasDoneButAnsweredWithAnErrorIsFoundAgain) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = Only(&worker);
  rig.store->Inject(
      FaultyJobStore::Method::kCommit,
      {.status = absl::UnavailableError("lost answer"), .executed = true});
  EXPECT_FALSE(worker.Finish(order).ok());
  rig.Settle();
  EXPECT_TRUE(worker.Finish(order).ok());
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
  EXPECT_EQ(rig.GetTask(job, "prepare").action.attempts, 1);
}

TEST(JobManager, AFailedPlacementIsNeverHandedOut) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  worker.Synchronize();
  rig.store->Inject(FaultyJobStore::Method::kCommit,
                    {.status = absl::UnavailableError("no"),
                     .matches = [](const Transaction& transaction) {
                       for (const ActionRecord& action : transaction.actions) {
                         if (action.state == ActionState::kRunning) return true;
                       }
                       return false;
                     }});
  const std::string job = rig.Submit();
  rig.clock.Advance(absl::Seconds(2));
  const WorkOrder order = Only(&worker);
  EXPECT_EQ(order.action.fence, 1u);
  EXPECT_EQ(rig.store->GetAction(order.action.key)->fence, 1u);
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

TEST(JobManager, ANearlyFullStoreTakesNoNewWorkAndGoesOnReading) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = Only(&worker);
  rig.free_bytes = 1000;
  rig.clock.Advance(absl::Seconds(1));
  const auto refused =
      rig.manager->CreateJob("default", Rig::Spec(), "", false);
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status()));
  EXPECT_EQ(ReasonOf(refused.status()), "STORE_NEARLY_FULL");
  ASSERT_TRUE(worker.Finish(order).ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  bool said = false;
  for (const TaskView& task : rig.Get(job).tasks) {
    said = said || task.pending_reason.starts_with("store is nearly full:");
  }
  EXPECT_TRUE(said);
  rig.free_bytes.reset();
  rig.clock.Advance(absl::Seconds(1));
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

TEST(JobManager, TelemetryKeepsFiniteValuesOfAttemptsThatExist) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = Only(&worker);
  TelemetryReport report;
  report.action_key = order.action.key;
  report.fence = order.action.fence;
  report.has_progress = true;
  report.progress.step = 3;
  report.progress.total_steps = 9;
  report.points = {{.series = "loss", .step = 1, .value = 0.5},
                   {.series = "loss", .step = 2, .value = std::nan("")}};
  report.lines = {{.sequence = 1, .severity = "info", .text = "hello"}};
  TelemetryReport stranger = report;
  stranger.fence = 99;
  stranger.progress.step = 99;
  stranger.points = {{.series = "loss", .step = 7, .value = 7}};
  ASSERT_TRUE(rig.manager->ReportTelemetry({report, stranger, report}).ok());
  const auto points =
      rig.telemetry->ListPoints({order.action.key}, "", {}, 100);
  ASSERT_TRUE(points.ok());
  ASSERT_THAT(*points, SizeIs(1));
  EXPECT_EQ((*points)[0].value, 0.5);
  EXPECT_THAT(*rig.telemetry->ListLines({order.action.key}, 0, 100), SizeIs(1));
  EXPECT_EQ(rig.GetTask(job, "prepare").progress.step, 3);
}

TEST(JobManager, ManyQueuedJobsAreTakenInByAndByAndAllOfThemEnd) {
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

TEST(JobManager, AWorkerReportThatMakesNoSenseIsRefused) {
  Rig rig;
  const auto answer = [&](WorkerReport report) {
    absl::StatusOr<Orders> result;
    rig.manager->Synchronize(report, [&](absl::StatusOr<Orders> orders) {
      result = std::move(orders);
    });
    return result.status();
  };
  const WorkerReport good = {
      .worker = "w", .incarnation = "1", .slots = 1, .numerics_class = "c"};
  EXPECT_TRUE(answer(good).ok());
  WorkerReport bad = good;
  bad.worker = "a,b";
  EXPECT_EQ(FieldOf(answer(bad)), "worker");
  bad = good;
  bad.slots = -1;
  EXPECT_EQ(FieldOf(answer(bad)), "slots");
  bad = good;
  bad.incarnation = "";
  EXPECT_EQ(FieldOf(answer(bad)), "incarnation");
}

}  // namespace
}  // namespace dasm
