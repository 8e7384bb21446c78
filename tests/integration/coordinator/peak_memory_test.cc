// What runners say that they took of memory: kept with the attempt, shown with
// the task and in the report.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/manager/job_manager.h"
#include "server/manager/job_proto.h"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::SizeIs;

TelemetryReport Peak(const std::string& key, uint64_t fence, int rank,
                     const PeakMemoryRecord& peak) {
  TelemetryReport report;
  report.action_key = key;
  report.fence = fence;
  report.peak = {rank, peak};
  return report;
}

v1::Task Show(Rig* rig, const std::string& job, const std::string& task) {
  return ToProto(rig->Get(job).job, rig->GetTask(job, task));
}

TEST(PeakMemory, IsInTheReportAndOutlivesTheCoordinator) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  ASSERT_THAT(worker.Synchronize().assignments, SizeIs(1));
  const ActionRecord action = worker.orders.assignments[0].action;
  ASSERT_TRUE(
      rig.manager
          ->ReportTelemetry({Peak(action.key, action.fence, 0, {500, 70, 90})})
          .ok());
  worker.RunAll();
  const auto report = nlohmann::json::parse(rig.Get(job).job.report_json);
  EXPECT_EQ(report["memory"]["peak_host_bytes"], 500);
  EXPECT_EQ(report["memory"]["peak_device_bytes"], 70);
  rig.Restart();
  const v1::Task task = Show(&rig, job, "prepare");
  ASSERT_EQ(task.memory_size(), 1);
  EXPECT_EQ(task.memory(0).host_bytes(), 500);
  EXPECT_EQ(task.memory(0).device_bytes(), 70);
  EXPECT_EQ(task.memory(0).device_reserved_bytes(), 90);
  EXPECT_GT(task.predicted_memory_bytes(), 0);
}

TEST(PeakMemory, OfAnAttemptThatFailedIsShownUntilTheNextOneTells) {
  Rig rig;
  ScriptedWorker worker(&rig, "w");
  const std::string job = rig.Submit();
  worker.Synchronize();
  const WorkOrder first = worker.orders.assignments[0];
  const std::string key = first.action.key;
  ASSERT_TRUE(
      rig.manager->ReportTelemetry({Peak(key, first.action.fence, 0, {500})})
          .ok());
  ASSERT_TRUE(worker.Fail(first, FailureClass::kInternal).ok());
  worker.Synchronize();
  EXPECT_EQ(Show(&rig, job, "prepare").memory(0).host_bytes(), 500);
  const uint64_t fence = worker.orders.assignments[0].action.fence;
  ASSERT_GT(fence, first.action.fence);
  // Late, of no rank, of no attempt: none of them counts.
  ASSERT_TRUE(rig.manager
                  ->ReportTelemetry({Peak(key, fence, 0, {300}),
                                     Peak(key, first.action.fence, 0, {900}),
                                     Peak(key, fence, 1, {900}),
                                     Peak(key, fence, -1, {900}),
                                     Peak(key, fence + 1, 0, {900})})
                  .ok());
  rig.Settle();
  ASSERT_EQ(Show(&rig, job, "prepare").memory_size(), 1);
  EXPECT_EQ(Show(&rig, job, "prepare").memory(0).host_bytes(), 300);
}

}  // namespace
}  // namespace dasm
