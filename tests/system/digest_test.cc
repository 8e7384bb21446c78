// The same spec and seed give the same bits, however the job was run and
// whatever was killed meanwhile.
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/ids.h"
#include "common/base/random_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/support/service.h"
#include "tests/support/tiny_dataset.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::HasSubstr;
using testing::StartsWith;

// One folder for all: the uninterrupted digest is computed once.
class Digest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder;
    WriteTinyDataset({}, folder_->path());
    WriteText(*folder_ / "job.yaml", TinyJob());
    const Finished run = RunEmbedded("reference", {"--threads", "1"});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    expected_ = DigestOf(*folder_ / "out-reference");
    ASSERT_THAT(expected_, StartsWith("sha256:"));
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static Finished RunEmbedded(const std::string& name,
                              std::vector<std::string> more) {
    std::vector<std::string> argv = {Binary("dasmctl"),
                                     "run",
                                     *folder_ / "job.yaml",
                                     "--output",
                                     *folder_ / ("out-" + name),
                                     "--state",
                                     *folder_ / ("state-" + name),
                                     "--data",
                                     folder_->path()};
    argv.insert(argv.end(), more.begin(), more.end());
    return RunToEnd(argv);
  }
  // Submits the job and returns "jobs/ID".
  static std::string Submit(Service* service) {
    const Finished submitted =
        service->Ctl({"submit", "-f", *folder_ / "job.yaml", "-o", "name"});
    EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
    return std::string(absl::StripSuffix(submitted.out, "\n"));
  }
  static void ExpectSameDigest(Service* service, const std::string& job,
                               const std::string& out) {
    const Finished waited = service->Ctl({"wait", job, "--timeout", "200"});
    ASSERT_EQ(waited.exit_code, 0)
        << waited.err << service->Ctl({"describe", job}).out
        << service->worker()->Log();
    const Finished got =
        service->Ctl({"download", job, "--output", *folder_ / out});
    ASSERT_EQ(got.exit_code, 0) << got.err;
    EXPECT_EQ(DigestOf(*folder_ / out), expected_);
  }

  static TemporaryFolder* folder_;
  static std::string expected_;
};
TemporaryFolder* Digest::folder_ = nullptr;
std::string Digest::expected_;

TEST_F(Digest, IsThatOfTheFrozenJob) {
  // Changes only with a change of the numerics: then say so in the changelog
  // and raise the format byte of the action key.
  const auto report =
      nlohmann::json::parse(ReadText(*folder_ / "out-reference/report.json"));
  const auto frozen = nlohmann::json::parse(ReadText(DASM_FROZEN_DIGEST));
  const std::string numerics = report["numerics_class"];
  if (frozen.contains(numerics)) {
    EXPECT_EQ(expected_, frozen[numerics]);
  } else {
    // Another machine's class: nothing is promised about its bits, but the
    // class must be told apart from the frozen ones by its name.
    EXPECT_FALSE(numerics.empty());
  }
}

TEST_F(Digest, DoesNotDependOnThreadsOrSlots) {
  ASSERT_EQ(RunEmbedded("threads", {"--threads", "3"}).exit_code, 0);
  EXPECT_EQ(DigestOf(*folder_ / "out-threads"), expected_);
  ASSERT_EQ(RunEmbedded("slots", {"--threads", "1", "--slots", "2"}).exit_code,
            0);
  EXPECT_EQ(DigestOf(*folder_ / "out-slots"), expected_);
}

TEST_F(Digest, AnotherSeedGivesOtherBits) {
  ASSERT_EQ(RunEmbedded("seed", {"--set", "seed=1"}).exit_code, 0);
  EXPECT_NE(DigestOf(*folder_ / "out-seed"), expected_);
}

TEST_F(Digest, AWarmCacheGivesTheSameFilesWithoutComputing) {
  // The state folder of the reference run knows every result; the name is not
  // part of any key, so this is another job over the same actions.
  const Finished run =
      RunToEnd({Binary("dasmctl"), "run", *folder_ / "job.yaml", "--name",
                "again", "--output", *folder_ / "out-warm", "--state",
                *folder_ / "state-reference", "--data", folder_->path()});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(run.err, HasSubstr("(cached)"));
  EXPECT_EQ(DigestOf(*folder_ / "out-warm"), expected_);
}

TEST_F(Digest, IsTheSameThroughASeparateCoordinatorAndWorker) {
  Service service(*folder_ / "separate", folder_->path());
  ASSERT_TRUE(mkdir((*folder_ / "separate").c_str(), 0700) == 0);
  ASSERT_THAT(service.StartCoordinator(), StartsWith("ready grpc="));
  ASSERT_THAT(service.StartWorker(), StartsWith("ready "));
  const Finished submitted =
      service.Ctl({"submit", "-f", *folder_ / "job.yaml", "--wait"});
  ASSERT_EQ(submitted.exit_code, 0) << submitted.err;
  const Finished listed = service.Ctl({"list", "-o", "name"});
  ExpectSameDigest(&service, std::string(absl::StripSuffix(listed.out, "\n")),
                   "out-separate");
}

// Where the CPU has VNNI, other workers' runners may use it and this one's may
// not.
TEST_F(Digest, IsTheSameWithoutInstructionsForBytes) {
  Service service(*folder_ / "avx512", folder_->path());
  ASSERT_TRUE(mkdir((*folder_ / "avx512").c_str(), 0700) == 0);
  ASSERT_THAT(service.StartCoordinator(), StartsWith("ready grpc="));
  ASSERT_THAT(service.StartWorker("worker", 1, 1, {"--isa", "avx512"}),
              StartsWith("ready "));
  ExpectSameDigest(&service, Submit(&service), "out-avx512");
}

// Kills a process chosen at random at a random moment, again and again until
// the job is done. The number of runs comes from the environment: 5 in
// scripts/test, 50 in scripts/nightly.
TEST_F(Digest, SurvivesKillNineOfAnythingAtAnyMoment) {
  const char* given = std::getenv("DASM_KILL_RUNS");
  const int runs = given != nullptr ? std::atoi(given) : 5;
  const uint64_t seed = std::strtoull(RandomHex(4).c_str(), nullptr, 16);
  RecordProperty("seed", absl::StrCat(seed));
  int kills = 0;
  std::set<int> victims;
  for (int run = 0; run < runs; ++run) {
    SCOPED_TRACE(absl::StrCat("seed ", seed, " run ", run));
    const std::string name = absl::StrCat("kill-", run);
    ASSERT_TRUE(mkdir((*folder_ / name).c_str(), 0700) == 0);
    Service service(*folder_ / name, folder_->path(), /*lease=*/2);
    ASSERT_THAT(service.StartCoordinator(), StartsWith("ready "));
    ASSERT_THAT(service.StartWorker(), StartsWith("ready "));
    const std::string job = Submit(&service);
    RandomSequence draws = RandomStream(seed, "kill").At(run);
    for (int kill_number = 0; kill_number < 3; ++kill_number) {
      // Somewhere within the first seconds of what runs now.
      const absl::Time moment =
          PollNow() + absl::Seconds(draws.Uniform(0.05, 2.0));
      Eventually([&] { return PollNow() >= moment; });
      const int victim = draws.Below(3);
      if (victim == 0) {
        const std::vector<int> runners = service.Runners();
        if (runners.empty()) continue;
        kill(runners[0], SIGKILL);
      } else if (victim == 1) {
        service.KillWorker();
        ASSERT_THAT(service.StartWorker(), StartsWith("ready "))
            << service.worker()->Log();
      } else {
        service.KillCoordinator();
        ASSERT_THAT(service.StartCoordinator(), StartsWith("ready "))
            << service.coordinator()->Log();
      }
      victims.insert(victim);
      ++kills;
    }
    ExpectSameDigest(&service, job, absl::StrCat("out-", name));
    // Whatever was killed left nothing that computes.
    EXPECT_TRUE(Eventually([&] { return service.Runners().empty(); }));
  }
  // A run in which nothing was killed would prove nothing.
  EXPECT_GE(kills, runs);
  EXPECT_GE(victims.size(), 2u);
}

}  // namespace
}  // namespace dasm
