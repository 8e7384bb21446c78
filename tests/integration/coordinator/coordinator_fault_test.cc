// What a restart of the coordinator and the faults of its disk do to jobs: what
// was acknowledged is never lost.
#include <string>

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
using ::testing::IsEmpty;

TEST(CoordinatorFault, ARestartInTheMiddleKeepsAttemptsAndResults) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 2);
  const std::string job = rig.Submit();
  ASSERT_TRUE(worker.Finish(worker.SynchronizeOne()).ok());
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

TEST(CoordinatorFault, AWorkerThatStaysSilentAfterARestartLosesItsTask) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  rig.Submit();
  const WorkOrder old = worker.SynchronizeOne();
  rig.Restart();
  ScriptedWorker other(&rig, "x");
  EXPECT_THAT(other.Synchronize().assignments, IsEmpty());
  rig.clock.Advance(kLease);
  EXPECT_EQ(other.SynchronizeOne().action.fence, old.action.fence + 1);
}

TEST(CoordinatorFault, AFailedCommitLosesNothingThatWasAcknowledged) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
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
  EXPECT_EQ(worker.SynchronizeOne().action.fence, order.action.fence);
  ASSERT_TRUE(worker.Finish(order).ok());
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

TEST(CoordinatorFault, ACommitThatWasDoneButAnsweredWithAnErrorIsFoundAgain) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
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

TEST(CoordinatorFault, AFailedPlacementIsNeverHandedOut) {
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
  const WorkOrder order = worker.SynchronizeOne();
  EXPECT_EQ(order.action.fence, 1u);
  EXPECT_EQ(rig.store->GetAction(order.action.key)->fence, 1u);
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

TEST(CoordinatorFault, ANearlyFullStoreTakesNoNewWorkAndGoesOnReading) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
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

}  // namespace
}  // namespace dasm
