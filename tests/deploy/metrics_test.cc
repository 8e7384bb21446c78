// Dashboards and alerts ask for series that the binaries export.
#include <map>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/deploy/deploy_files.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT

// Name and labels, as common/metrics/metric_names.h has them.
std::map<std::string, std::set<std::string>> Exported() {
  std::map<std::string, std::set<std::string>> exported;
  const std::string text = Source("common/metrics/metric_names.h");
  static const std::regex kName(
      "((?:// [^\n]*\n)*)inline constexpr MetricName \\w+ "
      "=\\s*\\{\\s*\"(\\w+)\"");
  static const std::regex kLabel("[a-z]+");
  for (std::sregex_iterator it(text.begin(), text.end(), kName), end; it != end;
       ++it) {
    std::set<std::string>& labels = exported[(*it)[2]];
    const std::string comment = (*it)[1];
    const size_t at = comment.find("Labels: ");
    if (at == std::string::npos) continue;
    std::string list = comment.substr(at + 8);
    list = list.substr(0, list.find_first_of(".("));
    for (std::sregex_iterator label(list.begin(), list.end(), kLabel), none;
         label != none; ++label) {
      labels.insert(label->str());
    }
  }
  return exported;
}

// What is wrong with an expression; empty when nothing is.
std::string Complaint(
    const std::string& expression,
    const std::map<std::string, std::set<std::string>>& exported) {
  static const std::regex kSeries(
      "\\b((?:dasm|grpc|process|go|node|kube|up)\\w*)\\s*(?:\\{([^}]*)\\})?");
  static const std::regex kMatcher("(\\w+)\\s*(?:=~|!~|!=|=)");
  // Written by Prometheus itself, and labels that it adds.
  const std::set<std::string> added = {"job", "instance", "le"};
  bool found = false;
  // Strings hold names of jobs, not series.
  for (std::sregex_iterator it(expression.begin(), expression.end(), kSeries),
       end;
       it != end; ++it) {
    const auto before = static_cast<size_t>(it->position());
    if (before > 0 && expression[before - 1] == '"') continue;
    std::string name = (*it)[1];
    found = true;
    for (const char* suffix : {"_bucket", "_sum", "_count"}) {
      if (absl::EndsWith(name, suffix) && exported.count(name) == 0) {
        name.resize(name.size() - std::string(suffix).size());
      }
    }
    if (name != "up" && exported.count(name) == 0) {
      return absl::StrCat("no metric ", name, " in: ", expression);
    }
    const std::string matchers = (*it)[2];
    for (std::sregex_iterator label(matchers.begin(), matchers.end(), kMatcher),
         none;
         label != none; ++label) {
      const std::string word = (*label)[1];
      if (added.count(word) == 0 &&
          (name == "up" || exported.at(name).count(word) == 0)) {
        return absl::StrCat(name, " has no label ", word, ": ", expression);
      }
    }
  }
  return found ? "" : absl::StrCat("no series in: ", expression);
}

std::vector<std::string> Dashboards() {
  return FilesBelow("deploy/grafana/dashboards", ".json");
}

TEST(Metrics, TheNamesAreReadWithTheirLabels) {
  const auto exported = Exported();
  EXPECT_GE(exported.size(), 20u);
  EXPECT_THAT(exported.at("dasm_attempts_total"),
              testing::ElementsAre("kind", "result"));
  EXPECT_THAT(exported.at("dasm_distill_matching_loss"),
              testing::ElementsAre("segment", "task"));
}

TEST(Metrics, AnUnknownSeriesOrLabelIsComplainedAbout) {
  const auto exported = Exported();
  EXPECT_EQ(
      Complaint("sum(rate(dasm_attempts_total{kind=\"a\"}[5m]))", exported),
      "");
  EXPECT_THAT(Complaint("dasm_atempts_total", exported),
              testing::HasSubstr("no metric"));
  EXPECT_THAT(Complaint("dasm_attempts_total{job_id=\"1\"}", exported),
              testing::HasSubstr("no label"));
  EXPECT_THAT(Complaint("1 + 1", exported), testing::HasSubstr("no series"));
}

TEST(Dashboards, AskForWhatIsExported) {
  const auto exported = Exported();
  ASSERT_EQ(Dashboards().size(), 2u);
  for (const std::string& path : Dashboards()) {
    const auto board = nlohmann::json::parse(Source(path));
    int targets = 0;
    for (const auto& panel : board["panels"]) {
      if (panel["type"] == "row") continue;
      EXPECT_FALSE(panel["targets"].empty()) << path << panel["title"];
      for (const auto& target : panel["targets"]) {
        ++targets;
        EXPECT_EQ(Complaint(target["expr"], exported), "") << path;
      }
    }
    EXPECT_GE(targets, 8) << path;
  }
}

TEST(Dashboards, AreFixedAndTakeTheirDataSourceFromAVariable) {
  std::set<std::string> uids;
  for (const std::string& path : Dashboards()) {
    const auto board = nlohmann::json::parse(Source(path));
    EXPECT_TRUE(board["id"].is_null()) << path;
    EXPECT_FALSE(board["editable"].get<bool>()) << path;
    EXPECT_EQ(board["timezone"], "utc") << path;
    EXPECT_EQ(board["templating"]["list"][0]["type"], "datasource") << path;
    EXPECT_TRUE(uids.insert(board["uid"]).second) << path;
    EXPECT_THAT(path, testing::HasSubstr(board["uid"].get<std::string>()));
    std::set<int> ids;
    for (const auto& panel : board["panels"]) {
      EXPECT_TRUE(ids.insert(panel["id"].get<int>()).second) << path;
      const auto& place = panel["gridPos"];
      EXPECT_LE(place["x"].get<int>() + place["w"].get<int>(), 24) << path;
      if (panel["type"] != "row") {
        EXPECT_EQ(panel["datasource"]["uid"], "${datasource}") << path;
      }
    }
  }
}

TEST(Dashboards, AreAllInTheConfigMapOfKubernetes) {
  const YAML::Node kustomization =
      Documents("deploy/grafana/kustomization.yaml")[0];
  std::vector<std::string> files;
  for (const std::string& file :
       Strings(kustomization["configMapGenerator"][0]["files"])) {
    files.push_back(absl::StrCat("deploy/grafana/", file));
  }
  EXPECT_EQ(files, Dashboards());
}

TEST(Alerts, AskForWhatIsExportedAndSayWhatToDo) {
  const auto exported = Exported();
  const YAML::Node document = Documents("deploy/prometheus/alerts.yaml")[0];
  const std::string manual = Source("deploy/README.md");
  std::set<std::string> names;
  for (const YAML::Node& rule : document["groups"][0]["rules"]) {
    const auto name = rule["alert"].as<std::string>();
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(Complaint(rule["expr"].as<std::string>(), exported), "") << name;
    EXPECT_TRUE(rule["labels"]["severity"]) << name;
    EXPECT_TRUE(rule["annotations"]["summary"]) << name;
    EXPECT_TRUE(rule["annotations"]["description"]) << name;
    // "deploy/README.md#no-workers" is the heading "### No workers".
    std::string heading = rule["annotations"]["runbook"].as<std::string>();
    heading = heading.substr(heading.find('#') + 1);
    for (char& letter : heading) letter = letter == '-' ? ' ' : letter;
    heading[0] = static_cast<char>(std::toupper(heading[0]));
    EXPECT_THAT(manual, testing::HasSubstr(absl::StrCat("### ", heading, "\n")))
        << name;
  }
  EXPECT_THAT(names, testing::IsSupersetOf(
                         {"DasmCoordinatorDown", "DasmLeaseExpirations",
                          "DasmStoreNearlyFull", "DasmTaskFailures",
                          "DasmSegmentStuck"}));
}

TEST(Alerts, TheOperatorsRuleIsTheSameAsTheFile) {
  const YAML::Node rule = Documents(
      "deploy/kubernetes/components/monitoring/prometheus_rule.yaml")[0];
  const YAML::Node file = Documents("deploy/prometheus/alerts.yaml")[0];
  EXPECT_EQ(YAML::Dump(rule["spec"]["groups"]), YAML::Dump(file["groups"]));
}

// A value that no code writes would be a panel that is always empty.
TEST(Alerts, LabelValuesAreWrittenSomewhere) {
  std::string all = Source("deploy/prometheus/alerts.yaml");
  for (const std::string& path : Dashboards()) all += Source(path);
  const std::string code = absl::StrCat(
      Source("server/manager/manager_metrics.cc"),
      Source("server/job/state.cc"), Source("common/base/error.cc"),
      Source("server/manager/live_table_attempts.cc"));
  static const std::regex kValues(
      "\\b(?:state|to|result|reason)(?:=~|!~|=)\\\\?\"([A-Za-z_|]+)");
  static const std::regex kWord("\\w+");
  int checked = 0;
  for (std::sregex_iterator it(all.begin(), all.end(), kValues), end; it != end;
       ++it) {
    const std::string values = (*it)[1];
    for (std::sregex_iterator word(values.begin(), values.end(), kWord), none;
         word != none; ++word, ++checked) {
      EXPECT_THAT(code,
                  testing::HasSubstr(absl::StrCat("\"", word->str(), "\"")));
    }
  }
  EXPECT_GE(checked, 10);
}

}  // namespace
}  // namespace dasm
