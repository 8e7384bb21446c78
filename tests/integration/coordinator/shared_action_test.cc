// Actions that several jobs share: what runs is joined, what was made is found,
// and what was lost is made again.
#include <set>
#include <string>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/manager/job_manager.h"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::IsEmpty;

TEST(SharedAction, AResultAfterTheCancelEntersTheCacheAndTheJobStaysCancelled) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  const WorkOrder order = worker.SynchronizeOne();
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

TEST(SharedAction, TwoJobsShareOneRunAndACancelReleasesOneClaimOnly) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  const std::string first = rig.Submit();
  const std::string second = rig.Submit();
  const WorkOrder shared = worker.SynchronizeOne();
  EXPECT_EQ(rig.Metric("dasm_action_cache_requests_total{result=\"joined\"}"),
            1);
  ASSERT_TRUE(rig.manager->CancelJob({"default", first}, "").ok());
  EXPECT_EQ(worker.SynchronizeOne().action.fence, shared.action.fence);
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

TEST(SharedAction, ASharedTaskRunsAtTheHighestPriorityOfItsJobs) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  v1::JobSpec blocker = Rig::Spec();
  blocker.set_salt("blocker");
  rig.Submit(blocker);
  const WorkOrder running = worker.SynchronizeOne();
  v1::JobSpec plain = Rig::Spec();
  plain.set_salt("plain");
  plain.mutable_resources()->set_priority(5);
  rig.Submit(plain);
  v1::JobSpec urgent = Rig::Spec();  // the same tasks as the next one
  const std::string low = rig.Submit(urgent);
  urgent.mutable_resources()->set_priority(9);
  rig.Submit(urgent);
  ASSERT_TRUE(worker.Finish(running).ok());
  const WorkOrder next = worker.SynchronizeOne();
  EXPECT_EQ(next.action.key, rig.GetTask(low, "prepare").task.action_key);
}

TEST(SharedAction, ASharedTaskIsCheckpointedAsOftenAsAnyOfItsJobsAsks) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  v1::JobSpec spec = Rig::Spec();
  rig.Submit(spec);  // by time only
  spec.mutable_resources()->set_checkpoint_interval(7);
  spec.mutable_resources()->set_checkpoint_steps(50);
  rig.Submit(spec);
  spec.mutable_resources()->set_checkpoint_steps(500);
  rig.Submit(spec);
  const WorkOrder order = worker.SynchronizeOne();
  EXPECT_EQ(order.action.checkpoint_steps, 50);
  EXPECT_FLOAT_EQ(order.action.checkpoint_interval, 0.2);
}

TEST(SharedAction, AFinishedResultServesTheNextJobWithoutRunningAnything) {
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

TEST(SharedAction, AnIncompleteResultIsMadeAgain) {
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

TEST(SharedAction, ABadBlobOfAFinishedJobIsMadeAgainAndTheJobStaysDone) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  worker.RunAll();
  const std::string digest =
      rig.GetTask(job, "assemble").action.outputs.at("synthetic").blob.digest;
  ASSERT_TRUE(rig.blobs->Remove(digest).ok());
  rig.manager->ReportBadBlob(digest);
  const WorkOrder again = worker.SynchronizeOne();
  EXPECT_EQ(again.action.kind, "assemble");
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
  ASSERT_TRUE(worker.Finish(again).ok());
  EXPECT_TRUE(rig.blobs->Verify(digest).ok());
  EXPECT_THAT(worker.Synchronize().assignments, IsEmpty());
}

TEST(SharedAction, ATaskWaitsWhileItsLostInputIsMadeAgain) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  ASSERT_TRUE(worker.Finish(worker.SynchronizeOne()).ok());
  const WorkOrder consumer = worker.SynchronizeOne();
  ASSERT_FALSE(consumer.action.inputs.empty());
  const std::string input = consumer.action.inputs.begin()->second.digest;
  ASSERT_TRUE(rig.blobs->Remove(input).ok());
  rig.manager->ReportBadBlob(input);
  ASSERT_TRUE(worker.Fail(consumer, FailureClass::kStorage).ok());
  rig.clock.Advance(absl::Seconds(2));
  const WorkOrder producer = worker.SynchronizeOne();
  EXPECT_EQ(producer.action.kind, "prepare_dataset");
  ASSERT_TRUE(worker.Finish(producer).ok());
  worker.RunAll();
  EXPECT_EQ(rig.State(job), JobState::kSucceeded);
}

}  // namespace
}  // namespace dasm
