// Images and compose file against the binaries, and every file against the
// others.
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/deploy/deploy_files.h"
#include "tests/support/process.h"
#include "tests/support/service.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::Contains;
using testing::HasSubstr;
using testing::IsSubsetOf;

// The first group of every match.
std::set<std::string> All(const std::string& text, const std::string& pattern) {
  std::set<std::string> found;
  const std::regex regex(pattern);
  for (std::sregex_iterator it(text.begin(), text.end(), regex), end; it != end;
       ++it) {
    found.insert((*it)[1]);
  }
  return found;
}

YAML::Node Compose() { return Documents("docker/compose.yaml")[0]["services"]; }

// The JSON array behind `instruction` in the stage `stage`.
std::vector<std::string> Exec(const std::string& stage,
                              const std::string& instruction) {
  const std::string file = Source("docker/Dockerfile");
  const size_t begin = file.find(absl::StrCat(" AS ", stage, "\n"));
  if (begin == std::string::npos) {
    ADD_FAILURE() << "no stage " << stage;
    return {};
  }
  const std::string body =
      file.substr(begin, file.find("\nFROM", begin) - begin);
  const size_t at = body.find(absl::StrCat("\n", instruction, " ["));
  if (at == std::string::npos) return {};
  const size_t open = body.find('[', at);
  return nlohmann::json::parse(
             body.substr(open, body.find(']', open) - open + 1))
      .get<std::vector<std::string>>();
}

TEST(Images, StagesThatAreBuiltOnExist) {
  const std::string file = Source("docker/Dockerfile");
  const auto stages = All(file, "\nFROM \\S+ AS (\\S+)");
  EXPECT_THAT(stages, testing::IsSupersetOf(
                          {"coordinator", "worker", "worker-gpu", "dasmctl"}));
  EXPECT_THAT(All(file, "--from=(\\S+)"), IsSubsetOf(stages));
  for (const std::string& base : All(file, "\nFROM (\\S+) AS")) {
    EXPECT_TRUE(stages.count(base) == 1 || absl::StartsWith(base, "debian:12"))
        << base;
  }
}

TEST(Images, EntryPointsUseFlagsThatExist) {
  for (const char* daemon : {"coordinator", "worker"}) {
    std::vector<std::string> words = Exec(daemon, "ENTRYPOINT");
    ASSERT_FALSE(words.empty()) << daemon;
    const std::string binary = absl::StrCat("dasm-", daemon);
    EXPECT_EQ(words[0], binary);
    for (const std::string& word : Exec(daemon, "CMD")) words.push_back(word);
    EXPECT_THAT(FlagNames(words), IsSubsetOf(FlagsOf(binary)));
    EXPECT_EQ(FlagValue(words, "--state"), "/var/lib/dasm");
    EXPECT_EQ(FlagValue(words, "--data"), "/data");
    // Not open unless asked for.
    EXPECT_EQ(FlagNames(words).count("--insecure"), 0u);
  }
}

TEST(Images, DaemonsRunAsTheUserThatOwnsTheVolumes) {
  const std::string file = Source("docker/Dockerfile");
  EXPECT_THAT(All(file, "\nUSER (\\S+)"), testing::ElementsAre("10001:10001"));
  const auto users = [](const std::string& key) {
    std::set<int> ids;
    for (const YAML::Node& set : OfKind("StatefulSet")) {
      ids.insert(
          set["spec"]["template"]["spec"]["securityContext"][key].as<int>());
    }
    return ids;
  };
  for (const char* key : {"runAsUser", "runAsGroup", "fsGroup"}) {
    EXPECT_THAT(users(key), testing::ElementsAre(10001)) << key;
  }
}

TEST(Images, BuildStepsAreTheScriptsOfTheTree) {
  const std::string file = Source("docker/Dockerfile");
  for (const std::string& script : All(file, "(scripts/[a-z]+)"))
    Source(script);
  EXPECT_THAT(Source("CMakePresets.json"), HasSubstr("\"name\": \"release\""));
  for (const std::string& option : All(file, "-D(DASM_\\w+)=")) {
    std::string cmake = Source("CMakeLists.txt");
    for (const std::string& path : FilesBelow("cmake", ".cmake")) {
      cmake += Source(path);
    }
    EXPECT_THAT(cmake, HasSubstr(absl::StrCat("set(", option))) << option;
  }
  // The wheel of the images is the wheel of the build.
  for (const std::string& wheel : All(file, "(torch==\\S+)")) {
    EXPECT_THAT(Source("scripts/setup"), HasSubstr(wheel));
  }
}

TEST(Images, NamesAndTagsAreTheSameEverywhere) {
  const std::string cmake = Source("CMakeLists.txt");
  const auto version = All(cmake, "project\\(dasm VERSION (\\S+)");
  ASSERT_EQ(version.size(), 1u);
  const std::string dockerfile = Source("docker/Dockerfile");
  std::set<std::string> built;
  for (const std::string& name : All(dockerfile, "-t (dasm/\\S+) \\.")) {
    built.insert(name);
    EXPECT_THAT(name, testing::EndsWith(":" + *version.begin()));
  }
  EXPECT_EQ(built.size(), 4u);
  std::set<std::string> used;
  for (const char* folder : {"docker", "deploy"}) {
    for (const std::string& path : FilesBelow(folder, ".yaml")) {
      for (const std::string& image : All(Source(path), "image: (dasm/\\S+)")) {
        used.insert(image);
        EXPECT_THAT(built, Contains(image)) << path;
      }
    }
  }
  EXPECT_GE(used.size(), 3u);
  // The pool of GPUs takes the worker's tag with another name.
  const YAML::Node image = Documents(
      "deploy/kubernetes/pools/gpu/kustomization.yaml")[0]["images"][0];
  EXPECT_THAT(built, Contains(absl::StrCat(image["newName"].as<std::string>(),
                                           ":", *version.begin())));
}

TEST(Compose, BinariesKnowTheirFlagsAndPortsAgree) {
  const YAML::Node services = Compose();
  const auto coordinator = Strings(services["coordinator"]["command"]);
  EXPECT_THAT(FlagNames(coordinator), IsSubsetOf(FlagsOf("dasm-coordinator")));
  const auto worker = Strings(services["worker"]["command"]);
  EXPECT_THAT(FlagNames(worker), IsSubsetOf(FlagsOf("dasm-worker")));
  EXPECT_EQ(
      FlagValue(worker, "--coordinator"),
      absl::StrCat("coordinator:", PortOf(FlagValue(coordinator, "--listen"))));

  const YAML::Node scrape =
      Documents("deploy/prometheus/prometheus.yaml")[0]["scrape_configs"];
  EXPECT_EQ(
      scrape[0]["static_configs"][0]["targets"][0].as<std::string>(),
      absl::StrCat("coordinator:", PortOf(FlagValue(coordinator, "--http"))));
  EXPECT_EQ(scrape[1]["dns_sd_configs"][0]["port"].as<int>(),
            PortOf(FlagValue(worker, "--http")));
  EXPECT_EQ(scrape[1]["dns_sd_configs"][0]["names"][0].as<std::string>(),
            "worker");
}

TEST(Compose, NothingIsPublishedBeyondThisMachine) {
  int published = 0;
  for (const auto& service : Compose()) {
    for (const std::string& port : Strings(service.second["ports"])) {
      ++published;
      EXPECT_THAT(port, testing::StartsWith("127.0.0.1:"))
          << service.first.as<std::string>();
    }
  }
  EXPECT_GE(published, 3);
}

TEST(Compose, WhatIsMountedExistsAndVolumesAreDeclared) {
  const YAML::Node document = Documents("docker/compose.yaml")[0];
  for (const auto& service : document["services"]) {
    for (const std::string& mount : Strings(service.second["volumes"])) {
      const std::string from = mount.substr(0, mount.find(":/"));
      if (absl::StartsWith(from, "../")) {
        EXPECT_FALSE(FilesBelow("deploy", "").empty());
        const std::string path = from.substr(3);
        bool found = false;
        for (const std::string& file : FilesBelow("deploy", "")) {
          found |= absl::StartsWith(file, path);
        }
        EXPECT_TRUE(found) << mount;
      } else if (!absl::StartsWith(from, "$")) {
        EXPECT_TRUE(document["volumes"][from].IsDefined()) << mount;
      }
    }
  }
}

TEST(Compose, GrafanaFindsPrometheusAndTheDashboards) {
  const YAML::Node services = Compose();
  const YAML::Node source =
      Documents("deploy/grafana/provisioning/datasources/prometheus.yaml")[0];
  EXPECT_EQ(source["datasources"][0]["url"].as<std::string>(),
            "http://prometheus:9090");
  EXPECT_TRUE(services["prometheus"]);
  const YAML::Node provider = Documents(
      "deploy/grafana/provisioning/dashboards/dasm.yaml")[0]["providers"][0];
  const auto path = provider["options"]["path"].as<std::string>();
  EXPECT_FALSE(provider["allowUiUpdates"].as<bool>());
  EXPECT_THAT(
      Strings(services["grafana"]["volumes"]),
      Contains(absl::StrCat("../deploy/grafana/dashboards:", path, ":ro")));
  const auto home = services["grafana"]["environment"]
                            ["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
                                .as<std::string>();
  ASSERT_THAT(home, testing::StartsWith(path + "/"));
  Source("deploy/grafana/dashboards/" + home.substr(path.size() + 1));
}

// One name for what is scraped, whoever scrapes.
TEST(Prometheus, JobNamesAreTheSameWithAndWithoutTheOperator) {
  std::set<std::string> jobs;
  for (const YAML::Node& scrape :
       Documents("deploy/prometheus/prometheus.yaml")[0]["scrape_configs"]) {
    jobs.insert(scrape["job_name"].as<std::string>());
  }
  std::set<std::string> monitored;
  for (const char* kind : {"ServiceMonitor", "PodMonitor"}) {
    const YAML::Node spec = OfKind(kind)[0]["spec"];
    EXPECT_EQ(spec["jobLabel"].as<std::string>(), "dasm.dev/metrics");
    monitored.insert(
        spec["selector"]["matchLabels"]["dasm.dev/metrics"].as<std::string>());
  }
  EXPECT_EQ(jobs, monitored);
  std::string asked = Source("deploy/prometheus/alerts.yaml");
  for (const std::string& path : FilesBelow("deploy/grafana", ".json")) {
    asked += Source(path);
  }
  EXPECT_THAT(All(asked, "job=\\\\?\"([a-z-]+)"), IsSubsetOf(jobs));
}

TEST(Manual, CommandsUseFlagsThatExist) {
  const std::string manual = Source("deploy/README.md");
  std::set<std::string> verbs;
  const std::regex command(
      "dasmctl (?:--coordinator \\S+ )?([a-z]+)([^\n`|]*)");
  for (std::sregex_iterator it(manual.begin(), manual.end(), command), end;
       it != end; ++it) {
    const std::string verb = (*it)[1];
    const std::vector<std::string> words =
        absl::StrSplit((*it)[2].str(), ' ', absl::SkipEmpty());
    EXPECT_THAT(FlagNames(words), IsSubsetOf(FlagsOf("dasmctl", verb))) << verb;
    verbs.insert(verb);
  }
  EXPECT_GE(verbs.size(), 3u);
}

TEST(Help, EveryVerbHasAnExampleThatNamesIt) {
  const Finished help = RunToEnd({Binary("dasmctl"), "--help"});
  const std::string list = help.out.substr(help.out.find("\nSubcommands:") + 1);
  const auto verbs = All(list, "\n  ([a-z]+) ");
  EXPECT_GE(verbs.size(), 18u);
  for (const std::string& verb : verbs) {
    const Finished of_verb = RunToEnd({Binary("dasmctl"), verb, "--help"});
    EXPECT_EQ(of_verb.exit_code, 0) << verb;
    const size_t at = of_verb.out.find("Example: dasmctl ");
    ASSERT_NE(at, std::string::npos) << verb;
    const std::string example = of_verb.out.substr(at);
    EXPECT_THAT(example, HasSubstr(absl::StrCat(" ", verb)));
    EXPECT_THAT(FlagNames(absl::StrSplit(example, absl::ByAnyChar(" \n"))),
                IsSubsetOf([&] {
                  std::set<std::string> flags = FlagsOf("dasmctl", verb);
                  flags.insert("--coordinator");
                  return flags;
                }()));
  }
}

TEST(Help, AMisspeltVerbIsNamed) {
  const Finished wrong = RunToEnd({Binary("dasmctl"), "lst"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("error: \"lst\" is not a verb"));
}

TEST(Completion, BashKnowsTheVerbBehindGlobalOptions) {
  const Finished script = RunToEnd({Binary("dasmctl"), "completion", "bash"});
  ASSERT_EQ(script.exit_code, 0) << script.err;
  const auto complete = [&](const std::string& words, int at) {
    const Finished done =
        RunToEnd({"/bin/bash", "-c",
                  absl::StrCat(script.out, "\nCOMP_WORDS=(dasmctl ", words,
                               ")\nCOMP_CWORD=", at,
                               "\n_dasmctl\necho \"${COMPREPLY[@]}\"")});
    EXPECT_EQ(done.exit_code, 0) << done.err;
    return done.out;
  };
  EXPECT_EQ(complete("wat", 1), "watch\n");
  // As bash splits it.
  EXPECT_EQ(complete("--coordinator 127.0.0.1 : 7070 watch --t", 6),
            "--timeout\n");
  EXPECT_EQ(complete("list -o j", 3), "json\n");
  EXPECT_EQ(complete("--coo", 1), "--coordinator\n");
}

TEST(Completion, EachShellKnowsEveryVerb) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Finished script = RunToEnd({Binary("dasmctl"), "completion", shell});
    EXPECT_EQ(script.exit_code, 0) << script.err;
    for (const char* verb : {"submit", "explain", "watch", "drain"}) {
      EXPECT_THAT(script.out, HasSubstr(verb)) << shell;
    }
  }
  EXPECT_EQ(RunToEnd({Binary("dasmctl"), "completion", "tcsh"}).exit_code, 2);
}

}  // namespace
}  // namespace dasm
