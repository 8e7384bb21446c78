#include "server/planner/report.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/yaml.h"

namespace dasm {
namespace {

using Json = nlohmann::json;

constexpr char kConvNet[] = "convnet";
constexpr char kDigest[] = "sha256:5e7";

FinishedTask Evaluation(const std::string& what, int repeat, double accuracy) {
  EvaluateParameters parameters;
  parameters.network.width = 32;
  parameters.repeat = repeat;
  return {.id = absl::StrCat("evaluate-", what, "-",
                             parameters.network.ToString(), "-", repeat + 1),
          .kind = EvaluateParameters::kKind,
          .parameters_json = ToCanonicalJson(parameters),
          .action_key = "e1",
          .summary_json = Json{{"accuracy", accuracy}}.dump(),
          .seconds = 1};
}

ExpandedSpec Expanded() {
  const auto given = ParseJobFile(
      "preset: dasm-idc/fashion-mnist/ipc10/quick\nseed: 3\n"
      "sequence: {dasm: {segments: [4, 3, 3]}}\nnetwork: {width: 32}\n");
  return *ExpandSpec(*given);
}

JobResult Result() {
  JobResult result;
  result.spec = Expanded().spec;
  result.numerics_class = "cpu-avx2";
  result.tool_version = "0.1.0";
  result.total_seconds = 50;
  result.tasks.push_back({.id = "prepare",
                          .kind = PrepareDatasetParameters::kKind,
                          .parameters_json = "{}",
                          .seconds = 100});
  result.tasks.push_back({.id = "segment-1",
                          .kind = DistillSegmentParameters::kKind,
                          .parameters_json = "{\"segment\":0}",
                          .action_key = "d1",
                          .parents = {"prepare"},
                          .summary_json = R"({"final_loss":null})",
                          .seconds = 7});
  for (const int k : {3, 2}) {
    result.tasks.push_back(
        {.id = absl::StrCat("pool-", k),
         .kind = SelectPoolParameters::kKind,
         .parameters_json = "{}",
         .summary_json = Json{{"learned_fraction", 0.5 + 0.1 * k},
                              {"rule", "misclassified"},
                              {"pool_size_by_class", {1, 2}},
                              {"learned_fraction_tile_sources", 0.9},
                              {"learned_fraction_other_images", 0.6},
                              {"jaccard_previous", nullptr}}
                             .dump(),
         .seconds = 2});
  }
  result.tasks.push_back(
      {.id = "assemble",
       .kind = AssembleParameters::kKind,
       .parameters_json = "{\"factor\":2}",
       .summary_json = R"({"images":100,"stored_bytes":313600})",
       .seconds = 1,
       .outputs = {{.name = "synthetic",
                    .digest = kDigest,
                    .size_bytes = 320000,
                    .chunk_digests = {"sha256:c"}},
                   {.name = "grid", .digest = "sha256:9", .size_bytes = 5}}});
  // As by id: repeat 10 before repeat 2.
  result.tasks.push_back(Evaluation("synthetic", 0, 70));
  result.tasks.push_back(Evaluation("synthetic", 9, 76));
  result.tasks.push_back(Evaluation("synthetic", 1, 73));
  result.tasks.push_back(Evaluation("random", 0, 50));
  result.tasks.push_back(Evaluation("tiles", 0, 60));
  result.tasks.push_back(Evaluation("start", 0, 61));
  result.tasks.push_back(Evaluation("prefix1", 0, 65));
  result.tasks.push_back(Evaluation("prefix2", 0, 68));
  return result;
}

TEST(ReportJson, HoldsTheContractsMembers) {
  const auto text = ReportJson(Result());
  ASSERT_TRUE(text.ok()) << text.status();
  const Json report = Json::parse(*text);
  EXPECT_EQ(report["method"], "dasm");
  EXPECT_EQ(report["dataset"], "fashion-mnist");
  EXPECT_EQ(report["images_per_class"], 10);
  EXPECT_EQ(report["stored_bytes"], 313600);
  const Json& accuracy = report["accuracy"][kConvNet];
  EXPECT_EQ(accuracy["runs"], (Json{70.0, 73.0, 76.0}));
  EXPECT_NEAR(accuracy["mean"], 73, 1e-12);
  // Of the population: sqrt((9 + 0 + 9) / 3).
  EXPECT_NEAR(accuracy["std"], 2.449489742783178, 1e-12);
  EXPECT_EQ(report["baselines"]["random"]["accuracy"][kConvNet]["mean"], 50.0);
  EXPECT_EQ(report["baselines"]["tiles"]["accuracy"][kConvNet]["std"], 0.0);
  EXPECT_EQ(report["baselines"]["start"]["accuracy"][kConvNet]["runs"],
            Json{61.0});
  ASSERT_EQ(report["prefixes"].size(), 2u);
  EXPECT_EQ(report["prefixes"][0]["images_per_class"], 4);
  EXPECT_EQ(report["prefixes"][1]["images_per_class"], 7);
  EXPECT_EQ(report["prefixes"][1]["accuracy"][kConvNet]["mean"], 68.0);
  ASSERT_EQ(report["learned_fraction"].size(), 2u);
  EXPECT_NEAR(report["learned_fraction"][0], 0.7, 1e-12);
  EXPECT_NEAR(report["learned_fraction"][1], 0.8, 1e-12);
  EXPECT_EQ(report["boundaries"][0]["before_segment"], 2);
  EXPECT_EQ(report["boundaries"][0]["rule"], "misclassified");
  EXPECT_EQ(report["boundaries"][0]["learned_fraction_tile_sources"], 0.9);
  EXPECT_EQ(report["boundaries"][0]["learned_fraction_other_images"], 0.6);
  EXPECT_EQ(report["numerics_class"], "cpu-avx2");
  EXPECT_EQ(report["seconds"]["distill"], 7.0 + 2 + 2 + 1);
  EXPECT_EQ(report["seconds"]["evaluate"], 8.0);
  EXPECT_EQ(report["seconds"]["total"], 50.0);
  EXPECT_EQ(report["seed"], 3);
  EXPECT_EQ(report["digest"], kDigest);
  EXPECT_EQ(report["tool_version"], "0.1.0");
}

TEST(ReportJson, SaysWhatWasPlannedAnewAndWhatCannotBeReproduced) {
  JobResult result = Result();
  Json report = Json::parse(*ReportJson(result));
  EXPECT_EQ(report["reproducible"], true);
  EXPECT_FALSE(report.contains("replanned"));
  result.tasks[1].replanned_micro_batch = 16;
  result.spec.execution.reduction = ReductionOrder::kFast;
  report = Json::parse(*ReportJson(result));
  EXPECT_EQ(report["reproducible"], false);
  EXPECT_EQ(report["replanned"],
            Json::array({{{"task", result.tasks[1].id}, {"micro_batch", 16}}}));
  EXPECT_EQ(Json::parse(*ManifestJson(result))["reproducible"], false);
}

TEST(ReportJson, HoldsNoNullAndNoNan) {
  JobResult result = Result();
  result.total_seconds = std::numeric_limits<double>::quiet_NaN();
  result.tasks[1].seconds = std::numeric_limits<double>::infinity();
  const auto text = ReportJson(result);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->find("null"), std::string::npos) << *text;
  EXPECT_EQ(text->find("nan"), std::string::npos) << *text;
}

TEST(ReportJson, OneSegmentHasNoBoundaries) {
  JobResult result = Result();
  result.spec.sequence.segments = {10};
  std::erase_if(result.tasks, [](const FinishedTask& task) {
    return task.id.starts_with("pool") ||
           task.id.find("prefix") != task.id.npos;
  });
  const Json report = Json::parse(*ReportJson(result));
  EXPECT_EQ(report["method"], "idc");
  EXPECT_EQ(report["learned_fraction"], Json::array());
  EXPECT_EQ(report["prefixes"], Json::array());
}

TEST(ReportJson, OfAnExistingSetTellsWhatTheImportFound) {
  JobResult result = Result();
  result.spec.synthetic_set = SyntheticSetSpec{.files = {{"npz", "a.npz"}}};
  result.tasks = {
      {.id = "set",
       .kind = ImportSetParameters::kKind,
       .parameters_json = "{}",
       .summary_json =
           R"({"images":20,"images_per_class":2,"stored_bytes":99})",
       .outputs = {{.name = "set", .digest = "sha256:a"}}},
      Evaluation("synthetic", 0, 91.8)};
  const Json report = Json::parse(*ReportJson(result));
  EXPECT_EQ(report["method"], "evaluate");
  EXPECT_EQ(report["images_per_class"].dump(), "2");
  EXPECT_EQ(report["stored_bytes"].dump(), "99");
  EXPECT_EQ(report["digest"], "sha256:a");
  const Json manifest = Json::parse(*ManifestJson(result));
  EXPECT_EQ(manifest["files"], Json::object());
}

TEST(ReportJson, WithoutAnAccuracyThereIsNoReport) {
  JobResult result = Result();
  result.tasks.back().summary_json = "{}";
  EXPECT_EQ(ReportJson(result).status().code(), absl::StatusCode::kInternal);
  result = Result();
  std::erase_if(result.tasks,
                [](const FinishedTask& task) { return task.id == "assemble"; });
  EXPECT_EQ(ReportJson(result).status().code(), absl::StatusCode::kInternal);
}

TEST(ReportJson, TellsTheHighestMemoryOfAnyProcess) {
  JobResult result = Result();
  EXPECT_FALSE(Json::parse(*ReportJson(result)).contains("memory"));
  result.tasks[0].peak_host_bytes = 500;
  result.tasks[1].peak_host_bytes = 400;
  const Json host = Json::parse(*ReportJson(result))["memory"];
  EXPECT_EQ(host, Json({{"peak_host_bytes", 500}}));
  result.tasks[1].peak_device_bytes = 70;
  const Json both = Json::parse(*ReportJson(result))["memory"];
  EXPECT_EQ(both["peak_device_bytes"], 70);
}

TEST(ManifestJson, TellsWhereEveryBlobCameFrom) {
  const auto text = ManifestJson(Result());
  ASSERT_TRUE(text.ok()) << text.status();
  const Json manifest = Json::parse(*text);
  EXPECT_EQ(manifest["tool_version"], "0.1.0");
  EXPECT_EQ(manifest["numerics_class"], "cpu-avx2");
  EXPECT_EQ(manifest["files"]["synthetic"]["digest"], kDigest);
  EXPECT_EQ(manifest["files"]["synthetic"]["size_bytes"], 320000);
  EXPECT_EQ(manifest["files"]["synthetic"]["chunk_digests"], Json{"sha256:c"});
  ASSERT_EQ(manifest["tasks"].size(), Result().tasks.size());
  EXPECT_EQ(manifest["tasks"][1]["id"], "segment-1");
  EXPECT_EQ(manifest["tasks"][1]["kind"], "distill_segment");
  EXPECT_EQ(manifest["tasks"][1]["action_key"], "d1");
  EXPECT_EQ(manifest["tasks"][1]["parents"], Json{"prepare"});
  EXPECT_EQ(text->find("null"), std::string::npos);
}

// Running the manifest's spec again is running the job again.
TEST(ManifestJson, SpecIsAJobFile) {
  const Json manifest = Json::parse(*ManifestJson(Result()));
  const auto given = ParseJobFile(manifest["spec"].dump());
  ASSERT_TRUE(given.ok()) << given.status();
  const auto again = ExpandSpec(*given);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->spec.matching, Expanded().spec.matching);
  EXPECT_EQ(again->spec.sequence, Expanded().spec.sequence);
  EXPECT_EQ(again->spec.evaluation, Expanded().spec.evaluation);
}

}  // namespace
}  // namespace dasm
