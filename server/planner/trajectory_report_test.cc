#include "server/planner/trajectory_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/spec/task_parameters.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

using Json = nlohmann::json;

constexpr int kIterations = 1000;

FinishedTask Evaluated(const std::string& what, double accuracy, int repeat = 0,
                       NetworkSpec network = {}) {
  EvaluateParameters parameters{.network = network, .repeat = repeat};
  return {.id = absl::StrCat("evaluate-", what, "-", network.ToString(), "-",
                             repeat + 1),
          .kind = EvaluateParameters::kKind,
          .parameters_json = ToCanonicalJson(parameters),
          .summary_json = Json{{"accuracy", accuracy}}.dump(),
          .seconds = 1};
}

FinishedTask Experts(const std::string& id, int count, double accuracy) {
  TrainExpertsParameters parameters{.count = count};
  parameters.training.epochs = 50;
  return {
      .id = id,
      .kind = TrainExpertsParameters::kKind,
      .parameters_json = ToCanonicalJson(parameters),
      .summary_json =
          Json{{"training_accuracy", accuracy}, {"final_loss", nullptr}}.dump(),
      .seconds = 10};
}

FinishedTask Segment(int number, double step_size) {
  MatchTrajectoriesParameters parameters{.segment = number - 1};
  return {
      .id = absl::StrCat("segment-", number),
      .kind = MatchTrajectoriesParameters::kKind,
      .parameters_json = ToCanonicalJson(parameters),
      .summary_json =
          Json{{"step_size", step_size}, {"skipped", 3}, {"label_entropy", 0.5}}
              .dump(),
      .seconds = 100,
      .outputs = {{.name = "segment", .digest = "sha256:end"},
                  {.name = "snapshot.400", .digest = "sha256:400"}}};
}

JobResult TrajectoryResult(Protocol protocol) {
  JobResult result;
  JobSpec& spec = result.spec;
  spec.dataset.name = "cifar-10";
  spec.images_per_class = 10;
  spec.sequence.segments = {10};
  spec.trajectory.emplace();
  spec.trajectory->iterations = kIterations;
  spec.evaluation.networks = {NetworkSpec()};
  spec.evaluation.protocol = protocol;
  result.tasks = {
      Experts("experts-1", 3, 80),
      Experts("experts-2", 1, 60),
      Experts("probe-expert", 1, 0),
      Segment(1, 0.02),
      FinishedTask{.id = "assemble",
                   .kind = AssembleParameters::kKind,
                   .parameters_json = "{}",
                   .summary_json = R"({"stored_bytes":7})",
                   .outputs = {{.name = "synthetic", .digest = "sha256:set"}}},
      Evaluated("synthetic", 60)};
  return result;
}

// The snapshots of a run that got worse at its end.
void AddSnapshots(JobResult* result) {
  result->tasks.push_back(Evaluated("snapshot-400", 66));
  result->tasks.push_back(Evaluated("snapshot-800", 64));
}

FinishedTask OnBothSplits(const std::string& what, double test,
                          double validation) {
  FinishedTask task = Evaluated(what, test);
  task.parameters_json =
      ToCanonicalJson(EvaluateParameters{.split = Split::kTestAndValidation});
  task.summary_json =
      Json{{"accuracy", test}, {"validation_accuracy", validation}}.dump();
  return task;
}

// The same run: validation prefers the second snapshot, the test images the
// first.
JobResult ValidatedResult() {
  JobResult result = TrajectoryResult(Protocol::kValidation);
  result.tasks.back() = OnBothSplits("synthetic", 60, 59);
  result.tasks.push_back(OnBothSplits("snapshot-400", 66, 61));
  result.tasks.push_back(OnBothSplits("snapshot-800", 64, 63));
  return result;
}

Json Report(const JobResult& result) {
  const auto text = ReportJson(result);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? Json::parse(*text) : Json();
}

TEST(TrajectoryReport, TheLastSetIsTheResultUnlessAProtocolChooses) {
  JobResult result = TrajectoryResult(Protocol::kLast);
  const Json report = Report(result);
  EXPECT_EQ(report["method"], "trajectory");
  EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 60.0);
  EXPECT_EQ(report["protocol"], "last");
  EXPECT_THAT(report["protocol_meaning"], HasSubstr("end of the run"));
  EXPECT_FALSE(report.contains("snapshot"));
  EXPECT_FALSE(report.contains("snapshots"));
  EXPECT_FALSE(report.contains("raw"));
  EXPECT_FALSE(report.contains("orders"));
  EXPECT_EQ(report["digest"], "sha256:set");
}

TEST(TrajectoryReport, ThePapersProtocolTakesTheBestOnTheTestImages) {
  JobResult result = TrajectoryResult(Protocol::kPaper);
  AddSnapshots(&result);
  const Json report = Report(result);
  EXPECT_EQ(report["protocol"], "paper");
  EXPECT_THAT(report["protocol_meaning"], HasSubstr("optimistic"));
  EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 66.0);
  EXPECT_EQ(report["snapshot"]["iteration"], 400);
  EXPECT_EQ(report["snapshot"]["digest"], "sha256:400");
}

TEST(TrajectoryReport, ValidationChoosesWithoutTheTestImages) {
  const Json report = Report(ValidatedResult());
  EXPECT_EQ(report["protocol"], "validation");
  EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 64.0);
  EXPECT_EQ(report["snapshot"]["iteration"], 800);
  const Json& snapshots = report["snapshots"];
  ASSERT_EQ(snapshots.size(), 6u);
  EXPECT_EQ(snapshots[0]["iteration"], 400);
  EXPECT_EQ(snapshots[0]["split"], "validation");
  EXPECT_EQ(snapshots[0]["accuracy"]["convnet"]["mean"], 61.0);
  EXPECT_EQ(snapshots[5]["iteration"], kIterations);
  EXPECT_EQ(snapshots[5]["split"], "test");
  EXPECT_EQ(snapshots[5]["accuracy"]["convnet"]["mean"], 60.0);
}

TEST(TrajectoryReport, TestAccuraciesHaveNoPartInTheChoice) {
  for (const double test : {0.0, 100.0}) {
    JobResult result = ValidatedResult();
    result.tasks[result.tasks.size() - 2] =
        OnBothSplits("snapshot-400", test, 61);
    const Json report = Report(result);
    EXPECT_EQ(report["snapshot"]["iteration"], 800) << test;
    EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 64.0) << test;
  }
}

TEST(TrajectoryReport, AnAccuracyThatIsMissingIsNoReport) {
  JobResult result = ValidatedResult();
  result.tasks.back().summary_json = R"({"accuracy": 64})";
  const auto report = ReportJson(result);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(report.status().message()),
              HasSubstr("validation_accuracy"));
}

TEST(TrajectoryReport, OneSetIsChosenForAllNetworks) {
  JobResult result = TrajectoryResult(Protocol::kPaper);
  AddSnapshots(&result);
  const NetworkSpec other = {.name = "resnet18", .depth = 0, .width = 0};
  result.spec.evaluation.networks.insert(
      result.spec.evaluation.networks.begin(), other);
  for (const auto& [set, accuracy] : {std::pair("synthetic", 50.0),
                                      {"snapshot-400", 40.0},
                                      {"snapshot-800", 70.0}}) {
    result.tasks.push_back(Evaluated(set, accuracy, 0, other));
  }
  // By the job's own network: the best one of the other is not looked for.
  const Json report = Report(result);
  EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 66.0);
  EXPECT_EQ(report["accuracy"]["resnet18-instance"]["mean"], 40.0);
}

TEST(TrajectoryReport, RawPixelsFollowTheSameProtocol) {
  JobResult result = TrajectoryResult(Protocol::kPaper);
  AddSnapshots(&result);
  result.tasks.push_back(Evaluated("raw", 58));
  result.tasks.push_back(Evaluated("raw-snapshot-400", 57));
  Json report = Report(result);
  EXPECT_EQ(report["raw"]["iteration"], kIterations);
  EXPECT_EQ(report["raw"]["accuracy"]["convnet"]["mean"], 58.0);
  EXPECT_EQ(report["accuracy"]["convnet"]["mean"], 66.0);
  result.spec.evaluation.protocol = Protocol::kLast;
  report = Report(result);
  EXPECT_EQ(report["raw"]["accuracy"]["convnet"]["mean"], 58.0);
  EXPECT_FALSE(report["raw"].contains("iteration"));
}

TEST(TrajectoryReport, TellsOfExpertsSegmentsAndOrders) {
  JobResult result = TrajectoryResult(Protocol::kLast);
  JobSpec& spec = result.spec;
  spec.sequence.segments.assign(11, 1);
  spec.evaluation.orders = {Order::kCumulative, Order::kStaged};
  result.tasks.push_back(Experts("experts-2-1", 1, 50));
  // As by id: the eleventh before the second.
  result.tasks.push_back(Segment(11, 0.11));
  result.tasks.push_back(Segment(2, 0.04));
  result.tasks.push_back(Evaluated("synthetic-staged", 55));
  result.tasks.push_back(
      {.id = "range-2",
       .kind = FindRangeParameters::kKind,
       .parameters_json = "{}",
       .summary_json = R"({"start_epoch_max":20,"probes":null})"});
  const Json report = Report(result);
  EXPECT_EQ(report["method"], "dasm-trajectory");
  EXPECT_EQ(report["orders"]["cumulative"]["accuracy"]["convnet"]["mean"],
            60.0);
  EXPECT_EQ(report["orders"]["staged"]["accuracy"]["convnet"]["mean"], 55.0);
  EXPECT_EQ(report["step_sizes"], (Json{0.02, 0.04, 0.11}));
  EXPECT_EQ(report["label_entropy"], (Json{0.5, 0.5, 0.5}));
  EXPECT_EQ(report["skipped_iterations"], (Json{3, 3, 3}));
  EXPECT_EQ(report["ranges"],
            (Json::array({{{"segment", 2}, {"start_epoch_max", 20}}})));
  // Three at 80 % and one at 60 %; the held-out one is not matched.
  EXPECT_EQ(report["experts"][0], (Json{{"segment", 1},
                                        {"count", 4},
                                        {"epochs", 50},
                                        {"training_accuracy", 75.0}}));
  EXPECT_EQ(report["experts"][1]["segment"], 2);
  EXPECT_EQ(report["experts"][1]["count"], 1);
  EXPECT_EQ(report["seconds"]["experts"], 40.0);
  EXPECT_EQ(report["seconds"]["distill"], 300.0);
}

TEST(TrajectoryReport, TheStdIsThatOfThePopulation) {
  JobResult result = TrajectoryResult(Protocol::kLast);
  result.tasks.push_back(Evaluated("synthetic", 64, /*repeat=*/1));
  const Json report = Report(result);
  EXPECT_EQ(report["accuracy"]["convnet"]["std"], 2.0);
}

}  // namespace
}  // namespace dasm
