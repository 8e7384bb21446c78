// What workers may say of the attempts that they were given, and what follows
// from it: fences and leases, results, checkpoints, failures and their budgets.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/manager/job_manager.h"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::kLease;
using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

TEST(Attempt, AResultOfAnOlderAttemptIsRefused) {
  Rig rig;
  ScriptedWorker lost(&rig, "lost");
  const std::string job = rig.Submit();
  const WorkOrder old = lost.SynchronizeOne();
  rig.clock.Advance(kLease);
  ScriptedWorker next(&rig, "next");
  const WorkOrder current = next.SynchronizeOne();
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

TEST(Attempt, ALeaseIsRenewedByReceiptOfACall) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
  for (int i = 0; i < 5; ++i) {
    rig.clock.Advance(kLease - absl::Milliseconds(1));
    EXPECT_EQ(worker.SynchronizeOne().action.fence, order.action.fence);
  }
  rig.clock.JumpWall(absl::Hours(24));
  EXPECT_EQ(worker.SynchronizeOne().action.fence, order.action.fence);
}

TEST(Attempt, ARestartedWorkerLosesItsAttemptAtOnce) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder before = worker.SynchronizeOne();
  worker.Restart();
  const WorkOrder after = worker.SynchronizeOne();
  EXPECT_EQ(after.action.key, before.action.key);
  EXPECT_EQ(after.action.fence, before.action.fence + 1);
  EXPECT_EQ(after.action.retries.at("NODE_LOST"), 1);
}

TEST(Attempt, AResultIsTakenOnceAndItsRepetitionAcknowledged) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
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

TEST(Attempt, AResultWithoutItsBlobsIsRefusedAndTakenWhenTheyAreThere) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
  const std::string absent = absl::StrCat("sha256:", std::string(64, 'a'));
  const absl::Status missing =
      rig.manager->CommitResult("w", order.action.key, order.action.fence,
                                {{"dataset", {{absent, 1}}}}, "{}", 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(missing)) << missing;
  EXPECT_EQ(ReasonOf(missing), "MISSING_BLOBS");
  EXPECT_THAT(std::string(missing.message()), HasSubstr(absent));
  EXPECT_TRUE(worker.Finish(order).ok());
}

TEST(Attempt, ABadCheckpointIsForgottenAndTheOlderOneUsed) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
  ASSERT_TRUE(worker.Checkpoint(order, 10).ok());
  ASSERT_TRUE(worker.Checkpoint(order, 20).ok());
  const std::string newest =
      worker.SynchronizeOne().action.checkpoints[0].blob.digest;
  rig.manager->ReportBadBlob(newest);
  rig.Settle();
  const WorkOrder after = worker.SynchronizeOne();
  ASSERT_THAT(after.action.checkpoints, SizeIs(1));
  EXPECT_EQ(after.action.checkpoints[0].step, 10);
}

TEST(Attempt, TheTwoNewestCheckpointsAreKeptAndTheirBlobsOnly) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
  std::vector<std::string> digests;
  for (int step : {10, 20, 30}) {
    ASSERT_TRUE(worker.Checkpoint(order, step).ok());
    digests.push_back(
        worker.SynchronizeOne().action.checkpoints[0].blob.digest);
  }
  EXPECT_THAT(rig.blobs->FindMissing(digests),
              ::testing::ElementsAre(digests[0]));
  // One that is not newer changes nothing.
  ASSERT_TRUE(worker.Checkpoint(order, 25).ok());
  EXPECT_EQ(worker.SynchronizeOne().action.checkpoints[0].step, 30);
  ASSERT_TRUE(worker.Finish(order).ok());
  EXPECT_THAT(rig.blobs->FindMissing(digests), SizeIs(3));
}

TEST(Attempt, ABudgetEndsTheJobAndACheckpointRestoresIt) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(
        worker.Fail(worker.SynchronizeOne(), FailureClass::kCollective).ok());
  }
  ASSERT_TRUE(worker.Checkpoint(worker.SynchronizeOne(), 100).ok());
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(
        worker.Fail(worker.SynchronizeOne(), FailureClass::kCollective).ok());
  }
  EXPECT_EQ(rig.State(job), JobState::kRunning);
  ASSERT_TRUE(
      worker
          .Fail(worker.SynchronizeOne(), FailureClass::kCollective, "the last")
          .ok());
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
  const WorkOrder again = worker.SynchronizeOne();
  EXPECT_EQ(again.action.checkpoints[0].step, 100);
  EXPECT_THAT(again.action.retries, IsEmpty());
}

TEST(Attempt, NumericFailsAtOnceAndPreemptionNever) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(
        worker.Fail(worker.SynchronizeOne(), FailureClass::kPreempted).ok());
  }
  EXPECT_EQ(rig.State(job), JobState::kRunning);
  ASSERT_TRUE(
      worker.Fail(worker.SynchronizeOne(), FailureClass::kNumeric, "step 7")
          .ok());
  EXPECT_EQ(rig.State(job), JobState::kFailed);
}

TEST(Attempt, AStorageFailureBacksOffAndSaysUntilWhenAndWhy) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  ASSERT_TRUE(
      worker.Fail(worker.SynchronizeOne(), FailureClass::kStorage, "/w is full")
          .ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
  EXPECT_THAT(rig.GetTask(job, "prepare").pending_reason,
              AllOf(StartsWith("back-off until 2023-"),
                    EndsWith(" after STORAGE: /w is full")));
  rig.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(worker.SynchronizeOne().action.fence, 2u);
}

TEST(Attempt, ADeviceFaultIsTriedOnAnotherWorker) {
  Rig rig;
  ScriptedWorker broken(&rig, "a");
  ScriptedWorker sound(&rig, "b");
  rig.Submit();
  const WorkOrder order = broken.SynchronizeOne();
  sound.Synchronize();
  ASSERT_TRUE(broken.Fail(order, FailureClass::kDeviceFault).ok());
  EXPECT_THAT(broken.Synchronize().assignments, IsEmpty());
  EXPECT_EQ(sound.SynchronizeOne().action.key, order.action.key);
}

TEST(Attempt, ADrainedWorkerIsAskedToReleaseAndTakesNothingNew) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
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

TEST(Attempt, TelemetryKeepsFiniteValuesOfAttemptsThatExist) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
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

TEST(Attempt, AWorkerReportThatMakesNoSenseIsRefused) {
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
