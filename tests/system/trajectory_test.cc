// Jobs of trajectory matching, through the real binaries: the same bits however
// they were run, experts that jobs share, and accuracies that say how they were
// chosen.
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/ids.h"
#include "common/base/random_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/cluster.h"
#include "tests/support/service.h"
#include "tests/support/tiny_dataset.h"
#include "tests/system/trajectory_job.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// One folder for all tests of a job: its uninterrupted digest is computed once.
class Trajectory : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    WriteTinyDataset({}, folder_->path());
    WriteText(*folder_ / "datm.yaml", TinyTrajectoryJob());
    WriteText(*folder_ / "seqmatch.yaml", TinySeqMatchJob());
    WriteText(*folder_ / "dasm.yaml", TinyDasmTrajectoryJob());
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
    expected_.clear();
  }
  static Finished Run(const std::string& job, const std::string& name,
                      const std::string& state,
                      const std::vector<std::string>& more = {}) {
    std::vector<std::string> argv = {Binary("dasmctl"),
                                     "run",
                                     *folder_ / (job + ".yaml"),
                                     "--output",
                                     *folder_ / ("out-" + name),
                                     "--state",
                                     *folder_ / ("state-" + state),
                                     "--data",
                                     folder_->path()};
    argv.insert(argv.end(), more.begin(), more.end());
    return RunToEnd(argv);
  }
  // That of the job on one rank.
  static std::string Expected(const std::string& job) {
    std::string& digest = expected_[job];
    if (digest.empty()) {
      const Finished run =
          Run(job, job + "-reference", job, {"--threads", "1"});
      EXPECT_EQ(run.exit_code, 0) << run.err;
      digest = DigestOf(*folder_ / ("out-" + job + "-reference"));
    }
    return digest;
  }
  static nlohmann::json Report(const std::string& name) {
    return nlohmann::json::parse(
        ReadText(*folder_ / ("out-" + name + "/report.json")));
  }

  static TemporaryFolder* folder_;
  static std::map<std::string, std::string> expected_;
};
TemporaryFolder* Trajectory::folder_ = nullptr;
std::map<std::string, std::string> Trajectory::expected_;

class TrajectoryOfEveryKind : public Trajectory,
                              public testing::WithParamInterface<const char*> {
};

TEST_P(TrajectoryOfEveryKind, HasTheSameDigestForTwoRanks) {
  const std::string job = GetParam();
  const std::string name = absl::StrCat(job, "-2");
  const Finished run = Run(job, name, name, {"--threads", "2"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(DigestOf(*folder_ / ("out-" + name)), Expected(job));
}

// A process chosen at random, at a random moment. The number of runs comes from
// the environment, as in digest_test.
TEST_P(TrajectoryOfEveryKind, SurvivesKillNineOfAnythingAtAnyMoment) {
  const std::string job_name = GetParam();
  const char* given = std::getenv("DASM_KILL_RUNS");
  const int runs = given != nullptr ? std::atoi(given) : 1;
  const uint64_t seed = std::strtoull(RandomHex(4).c_str(), nullptr, 16);
  int kills = 0;
  for (int run = 0; run < runs; ++run) {
    SCOPED_TRACE(absl::StrCat("seed ", seed, " run ", run));
    const std::string folder =
        *folder_ / absl::StrCat("kill-", job_name, "-", run);
    ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
    Service service(folder, folder_->path(), /*lease=*/2);
    ASSERT_THAT(service.StartCoordinator(), StartsWith("ready "));
    ASSERT_THAT(service.StartWorker(), StartsWith("ready "));
    const Finished submitted = service.Ctl(
        {"submit", "-f", *folder_ / (job_name + ".yaml"), "-o", "name"});
    ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
    const std::string job(absl::StripSuffix(submitted.out, "\n"));
    RandomSequence draws = RandomStream(seed, "kill").At(run);
    for (int victim = 0; victim < 3; ++victim) {
      const absl::Time moment =
          PollNow() + absl::Seconds(draws.Uniform(0.05, 1.0));
      Eventually([&] { return PollNow() >= moment; });
      // The runner last: it is where most of the time is spent.
      if (victim == 0) {
        service.KillWorker();
        ASSERT_THAT(service.StartWorker(), StartsWith("ready "))
            << service.worker()->Log();
      } else if (victim == 1) {
        service.KillCoordinator();
        ASSERT_THAT(service.StartCoordinator(), StartsWith("ready "))
            << service.coordinator()->Log();
      } else {
        const std::vector<int> runners = service.Runners();
        if (runners.empty()) continue;
        kill(runners[0], SIGKILL);
      }
      ++kills;
    }
    const Finished waited = service.Ctl({"wait", job, "--timeout", "200"});
    ASSERT_EQ(waited.exit_code, 0)
        << waited.err << service.Ctl({"describe", job}).out
        << service.worker()->Log();
    const std::string out = folder + "/out";
    const Finished got = service.Ctl({"download", job, "--output", out});
    ASSERT_EQ(got.exit_code, 0) << got.err;
    EXPECT_EQ(DigestOf(out), Expected(job_name));
  }
  EXPECT_GE(kills, 2 * runs);
}

INSTANTIATE_TEST_SUITE_P(Jobs, TrajectoryOfEveryKind,
                         testing::Values("datm", "seqmatch", "dasm"),
                         [](const auto& job) { return job.param; });

TEST_F(Trajectory, AGangOfThreeProcessesHasTheDigestOfOneRank) {
  Cluster::Options options;
  options.folder = *folder_ / "cluster";
  options.data = folder_->path();
  ASSERT_EQ(mkdir(options.folder.c_str(), 0700), 0);
  Cluster cluster(options);
  ASSERT_THAT(cluster.StartCoordinator(), StartsWith("ready "));
  ASSERT_THAT(cluster.StartWorker("a", 2), StartsWith("ready "));
  ASSERT_THAT(cluster.StartWorker("b", 1), StartsWith("ready "));
  const std::string job =
      cluster.Submit(*folder_ / "datm.yaml", {"resources.ranks=3"});
  EXPECT_EQ(cluster.AwaitDigest(job, *folder_ / "out-gang"), Expected("datm"));
  EXPECT_GE(cluster.CountStarts(2, 3), 1) << cluster.Logs();
  cluster.ExpectNothingLeft();
}

TEST_F(Trajectory, AnotherJobUsesTheExpertsThatAreThere) {
  ASSERT_THAT(Expected("datm"), StartsWith("sha256:"));
  const Finished other =
      Run("datm", "other-seed", "datm", {"--threads", "1", "--set", "seed=1"});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  EXPECT_NE(DigestOf(*folder_ / "out-other-seed"), Expected("datm"));
  // Every group of experts, and nothing that is this job's own.
  EXPECT_THAT(other.err, ContainsRegex("expert[^\n]*\\(cached\\)"));
  EXPECT_THAT(other.err, Not(ContainsRegex("match[^\n]*\\(cached\\)")));
}

// Of the snapshots' accuracies of `split`, the best is that of the one that the
// report says was chosen.
void ExpectBestIsChosen(const nlohmann::json& report,
                        const std::string& split) {
  double best = 0, chosen = -1;
  int choice = 0;
  for (const nlohmann::json& snapshot : report["snapshots"]) {
    if (snapshot["split"] != split) continue;
    ++choice;
    const double accuracy = snapshot["accuracy"]["convnet"]["mean"];
    best = std::max(best, accuracy);
    if (snapshot["iteration"] == report["snapshot"]["iteration"]) {
      chosen = accuracy;
    }
  }
  EXPECT_GE(choice, 2) << report.dump(2);
  EXPECT_EQ(chosen, best) << report.dump(2);
}

TEST_F(Trajectory, TheReportNamesTheProtocolOfItsAccuracy) {
  ASSERT_THAT(Expected("datm"), StartsWith("sha256:"));
  EXPECT_EQ(Report("datm-reference")["protocol"], "last");
  const std::vector<std::string> snapshots = {
      "--threads", "1", "--set", "matching.trajectory.snapshot_interval=4",
      "--set"};
  std::vector<std::string> paper = snapshots;
  paper.push_back("evaluation.protocol=paper");
  Finished run = Run("datm", "paper", "datm", paper);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(Report("paper")["protocol"], "paper");
  ExpectBestIsChosen(Report("paper"), "test");

  std::vector<std::string> validation = snapshots;
  validation.insert(validation.end(), {"evaluation.protocol=validation",
                                       "--set", "dataset.validation=0.25"});
  run = Run("datm", "validation", "datm", validation);
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(Report("validation")["protocol"], "validation");
  ExpectBestIsChosen(Report("validation"), "validation");
}

}  // namespace
}  // namespace dasm
