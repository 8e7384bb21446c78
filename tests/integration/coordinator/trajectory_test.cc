// Jobs of trajectory matching over the real job manager and stores: experts are
// trained once for everybody, and what a job's parts are comes together in its
// report.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/spec/task_parameters.h"
#include "common/spec/yaml.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/coordinator/rig.h"

namespace dasm {
namespace {

using ::dasm::testing_support::Rig;
using ::dasm::testing_support::ScriptedWorker;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// DATM in small, over the tiny data set.
v1::JobSpec Datm(int experts, uint64_t seed = 0) {
  const auto spec = ParseJobFile(absl::StrCat(
      R"(name: datm
dataset:
  idx:
    train_images: train-images
    train_labels: train-labels
    test_images: test-images
    test_labels: test-labels
images_per_class: 2
network: {name: convnet, depth: 2, width: 8, norm: instance}
matching:
  trajectory:
    iterations: 8
    student_steps: 3
    matched_epochs: 1
    start_epoch_min: 0
    start_epoch_initial: 1
    start_epoch_max: 2
    growth_iterations: 4
    image_learning_rate: 10
    labels: soft_learned
    label_learning_rate: 2
    skip_threshold: 1
synthesis: {init: correct, factor: 1}
sequence: {one_segment: {}}
evaluation:
  {recipe: trajectory, repeats: 1, epochs: 5, baselines: [random]}
seed: )",
      seed, "\nexperts: {count: ", experts, ", epochs: 3, batch: 32}\n"));
  EXPECT_TRUE(spec.ok()) << spec.status();
  return spec.ok() ? *spec : v1::JobSpec();
}

std::vector<TaskView> OfKind(Rig* rig, const std::string& job,
                             const std::string& kind) {
  std::vector<TaskView> tasks;
  for (TaskView& view : rig->Get(job).tasks) {
    if (view.task.kind == kind) tasks.push_back(std::move(view));
  }
  return tasks;
}

// Does everything of other kinds, and what is then assigned of this one.
std::vector<WorkOrder> ReachKind(ScriptedWorker* worker,
                                 const std::string& kind) {
  for (;;) {
    std::vector<WorkOrder> reached;
    bool more = false;
    for (const WorkOrder& order : worker->Synchronize().assignments) {
      if (order.action.kind == kind) {
        reached.push_back(order);
        continue;
      }
      EXPECT_TRUE(worker->Finish(order).ok());
      more = true;
    }
    if (!more) return reached;
  }
}

TEST(TrajectoryJobs, AJobRunsFromItsExpertsToItsReport) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 2);
  const std::string job = rig.Submit(Datm(2));
  worker.RunAll();
  const JobView view = rig.Get(job);
  ASSERT_EQ(view.job.state, JobState::kSucceeded) << view.job.failure.message;
  const auto report = nlohmann::json::parse(view.job.report_json);
  EXPECT_EQ(report["method"], "trajectory");
  EXPECT_EQ(report["protocol"], "last");
  EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 57.5);
  EXPECT_EQ(report["experts"][0]["count"], 2);
  EXPECT_EQ(report["experts"][0]["epochs"], 3);
  EXPECT_EQ(report["experts"][0]["training_accuracy"], 75);
  EXPECT_THAT(report["step_sizes"], ElementsAre(0.02));
  EXPECT_EQ(report["seconds"]["experts"], 3.0);
}

TEST(TrajectoryJobs, TwoJobsTrainTheirExpertsTogetherAndOnce) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  const std::string first = rig.Submit(Datm(2, /*seed=*/1));
  const std::string second = rig.Submit(Datm(2, /*seed=*/2));
  const std::vector<WorkOrder> experts = ReachKind(&worker, "train_experts");
  // One flight for both, and both follow it.
  ASSERT_THAT(experts, SizeIs(2));
  for (const std::string& job : {first, second}) {
    for (const TaskView& view : OfKind(&rig, job, "train_experts")) {
      EXPECT_EQ(view.task.state, TaskState::kRunning) << view.task.id;
    }
  }
  for (const WorkOrder& order : experts) {
    EXPECT_TRUE(worker.Finish(order).ok());
  }
  worker.RunAll();
  std::map<std::string, std::set<std::string>> keys;  // by task id
  for (const std::string& job : {first, second}) {
    EXPECT_EQ(rig.State(job), JobState::kSucceeded);
    for (const TaskView& view : rig.Get(job).tasks) {
      keys[view.task.id].insert(view.task.action_key);
    }
  }
  EXPECT_THAT(keys["experts-1"], SizeIs(1));
  EXPECT_THAT(keys["experts-2"], SizeIs(1));
  EXPECT_THAT(keys["segment-1"], SizeIs(2));
}

TEST(TrajectoryJobs, AJobWithMoreExpertsTrainsTheMissingOnes) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  const std::string few = rig.Submit(Datm(2));
  worker.RunAll();
  ASSERT_EQ(rig.State(few), JobState::kSucceeded);
  const std::string many = rig.Submit(Datm(5, /*seed=*/7));
  std::vector<std::string> trained;
  for (const WorkOrder& order : ReachKind(&worker, "train_experts")) {
    trained.push_back(absl::StrCat(
        nlohmann::json::parse(order.action.parameters_json)["first"]
            .get<int>()));
    EXPECT_TRUE(worker.Finish(order).ok());
  }
  std::sort(trained.begin(), trained.end());
  EXPECT_THAT(trained, ElementsAre("2", "3", "4"));
  worker.RunAll();
  ASSERT_EQ(rig.State(many), JobState::kSucceeded);
  int cached = 0;
  for (const TaskView& view : OfKind(&rig, many, "train_experts")) {
    cached += view.task.cached ? 1 : 0;
  }
  EXPECT_EQ(cached, 2);
  // And one with fewer trains none.
  const std::string fewer = rig.Submit(Datm(1, /*seed=*/8));
  EXPECT_THAT(ReachKind(&worker, "train_experts"), IsEmpty());
  worker.RunAll();
  EXPECT_EQ(rig.State(fewer), JobState::kSucceeded);
}

TEST(TrajectoryJobs, ASegmentOutOfMemoryIsPlannedAnewAndSaysSo) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  v1::JobSpec spec = Datm(1);
  spec.mutable_resources()->set_on_oom(v1::ResourceSpec::ON_OOM_REPLAN);
  const std::string job = rig.Submit(spec);
  const std::vector<WorkOrder> match = ReachKind(&worker, "match_trajectories");
  ASSERT_THAT(match, SizeIs(1));
  ASSERT_TRUE(worker
                  .Fail(match[0], FailureClass::kOomDevice,
                        "out of memory; micro_batch=2")
                  .ok());
  worker.RunAll();
  const JobView view = rig.Get(job);
  ASSERT_EQ(view.job.state, JobState::kSucceeded) << view.job.failure.message;
  const auto report = nlohmann::json::parse(view.job.report_json);
  EXPECT_EQ(report["replanned"][0]["task"], "segment-1");
  EXPECT_EQ(report["replanned"][0]["micro_batch"], 2);
}

TEST(TrajectoryJobs, ExpertsOutOfMemoryNameTheirGroup) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  const std::string job = rig.Submit(Datm(1));
  const std::vector<WorkOrder> experts = ReachKind(&worker, "train_experts");
  ASSERT_THAT(experts, SizeIs(1));
  ASSERT_TRUE(worker.Fail(experts[0], FailureClass::kOomHost).ok());
  worker.Synchronize();
  const JobView view = rig.Get(job);
  EXPECT_EQ(view.job.state, JobState::kFailed);
  EXPECT_THAT(view.job.failure.message,
              HasSubstr("set execution.train_group to 8"));
}

TEST(TrajectoryJobs, SnapshotsAndMovingAveragesAreEvaluated) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  v1::JobSpec spec = Datm(1);
  auto* trajectory = spec.mutable_matching()->mutable_trajectory();
  trajectory->set_pixel_ema(0.5f);
  trajectory->set_snapshot_interval(3);
  spec.mutable_evaluation()->set_protocol(v1::EvaluationSpec::PROTOCOL_PAPER);
  const std::string job = rig.Submit(spec);
  worker.RunAll();
  const JobView view = rig.Get(job);
  ASSERT_EQ(view.job.state, JobState::kSucceeded) << view.job.failure.message;
  const auto report = nlohmann::json::parse(view.job.report_json);
  EXPECT_EQ(report["protocol"], "paper");
  ASSERT_THAT(report["snapshots"], SizeIs(3));
  EXPECT_EQ(report["snapshots"][0]["iteration"], 3);
  EXPECT_EQ(report["snapshots"][2]["iteration"], 8);
  // All are equally good, so that the first is the best.
  EXPECT_EQ(report["snapshot"]["iteration"], 3);
  EXPECT_THAT(std::string(report["snapshot"]["digest"]), HasSubstr("sha256:"));
  EXPECT_TRUE(report.contains("raw"));
}

TEST(TrajectoryJobs, ValidationTrainsACandidateOnce) {
  Rig rig;
  ScriptedWorker worker(&rig, "w", 4);
  v1::JobSpec spec = Datm(1);
  spec.mutable_dataset()->set_validation(0.25f);
  spec.mutable_matching()->mutable_trajectory()->set_snapshot_interval(3);
  spec.mutable_evaluation()->set_protocol(
      v1::EvaluationSpec::PROTOCOL_VALIDATION);
  const std::string job = rig.Submit(spec);
  worker.RunAll();
  const JobView view = rig.Get(job);
  ASSERT_EQ(view.job.state, JobState::kSucceeded) << view.job.failure.message;
  // Of iterations 3, 6 and 8, and of random images.
  EXPECT_THAT(OfKind(&rig, job, EvaluateParameters::kKind), SizeIs(4));
  const auto report = nlohmann::json::parse(view.job.report_json);
  EXPECT_EQ(report["protocol"], "validation");
  EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 57.5);
  ASSERT_THAT(report["snapshots"], SizeIs(6));
  EXPECT_EQ(report["snapshots"][0]["split"], "validation");
  EXPECT_EQ(report["snapshots"][0]["accuracy"]["convnet"]["mean"], 56.5);
}

TEST(TrajectoryJobs, AScoreFileIsLookedAtWhenTheJobIsSubmitted) {
  Rig rig;
  v1::JobSpec spec = Datm(1);
  v1::DataSchedule* schedule = spec.mutable_experts()->mutable_schedule();
  schedule->set_initial_share(0.5f);
  schedule->set_growth_epochs(2);
  schedule->set_score(v1::DataSchedule::SCORE_FILE);
  schedule->set_score_file("scores.npy");
  const auto job = rig.manager->CreateJob("default", spec, "", false);
  EXPECT_TRUE(absl::IsFailedPrecondition(job.status())) << job.status();
  EXPECT_EQ(FieldOf(job.status()), "experts.schedule.score_file");
}

}  // namespace
}  // namespace dasm
