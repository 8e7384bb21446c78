// A segment over the ranks of a gang has the digest of one rank, whatever is
// killed or frozen meanwhile: runners of two workers on one machine.
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/ids.h"
#include "common/base/random_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/cluster.h"
#include "tests/support/service.h"
#include "tests/support/tiny_dataset.h"
#include "tests/system/gang_job.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::StartsWith;

// Every test has its own state, since a result in the cache would hide all.
class GangSystem : public testing::Test {
 protected:
  void SetUp() override {
    WriteTinyDataset({}, folder_.path());
    WriteText(folder_ / "job.yaml", TinyJob());
    ASSERT_TRUE(mkdir((folder_ / "cluster").c_str(), 0700) == 0);
    Cluster::Options options;
    options.folder = folder_ / "cluster";
    options.data = folder_.path();
    cluster_ = std::make_unique<Cluster>(options);
    ASSERT_THAT(cluster_->StartCoordinator(), StartsWith("ready "));
  }
  void StartTwoWorkersOfTwoSlots() {
    ASSERT_THAT(cluster_->StartWorker("a", 2), StartsWith("ready "));
    ASSERT_THAT(cluster_->StartWorker("b", 2), StartsWith("ready "));
  }
  void ExpectDigestOfOneRank(const std::string& job,
                             const std::vector<std::string>& settings) {
    EXPECT_EQ(cluster_->AwaitDigest(job, folder_ / "out"),
              DigestOfOneRank(folder_, settings));
    cluster_->ExpectNothingLeft();
  }

  // The runner that writes checkpoints, which is rank 0's; 0: none has yet.
  int RunnerOfRankZero() {
    for (const int runner : cluster_->Runners()) {
      // The program, --task, its folder.
      const std::vector<std::string> arguments = absl::StrSplit(
          ReadText(absl::StrCat("/proc/", runner, "/cmdline")), '\0');
      if (arguments.size() < 3) continue;  // It has just ended.
      std::error_code error;
      for (const auto& file :
           std::filesystem::directory_iterator(arguments[2] + "/ckpt", error)) {
        if (file.path().filename().string().starts_with("step-")) return runner;
      }
    }
    return 0;
  }
  // How many gangs had one rank that trained.
  int CountTrainers(const std::string& job) {
    const Finished logs = cluster_->Ctl({"logs", job});
    EXPECT_EQ(logs.exit_code, 0) << logs.err;
    const std::vector<std::string> parts =
        absl::StrSplit(logs.out, "trains the networks, the others match");
    return static_cast<int>(parts.size()) - 1;
  }

  TemporaryFolder folder_;
  std::unique_ptr<Cluster> cluster_;
};

class GangOfRanks : public GangSystem,
                    public testing::WithParamInterface<int> {};

TEST_P(GangOfRanks, HasTheDigestOfOneRank) {
  StartTwoWorkersOfTwoSlots();
  const int ranks = GetParam();
  const std::string job = cluster_->Submit(
      folder_ / "job.yaml", {absl::StrCat("resources.ranks=", ranks)});
  ExpectDigestOfOneRank(job, {});
  // Two segments, each of them once on every rank.
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_EQ(cluster_->CountStarts(rank, ranks), 2) << cluster_->Logs();
  }
}
INSTANTIATE_TEST_SUITE_P(Ranks, GangOfRanks, testing::Values(2, 3, 4));

TEST_F(GangSystem, GoesOnWhenARandomRunnerIsKilled) {
  StartTwoWorkersOfTwoSlots();
  const uint64_t seed = std::strtoull(RandomHex(4).c_str(), nullptr, 16);
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  RandomSequence draws = RandomStream(seed, "kill").At(0);
  const std::string job =
      cluster_->Submit(folder_ / "job.yaml", LongSegments(/*ranks=*/4));
  for (int kills = 0; kills < 2; ++kills) {
    std::vector<int> runners;
    ASSERT_TRUE(Eventually([&] {
      runners = cluster_->Runners();
      return runners.size() == 4;
    })) << cluster_->Logs();
    const absl::Time moment =
        PollNow() + absl::Seconds(draws.Uniform(0.0, 2.0));
    Eventually([&] { return PollNow() >= moment; });
    const int victim = runners[draws.Below(4)];
    kill(victim, SIGKILL);
    ASSERT_TRUE(Eventually([&] { return kill(victim, 0) != 0; }));
  }
  ExpectDigestOfOneRank(job, LongSegments(1));
  EXPECT_GT(cluster_->CountInLogs("attempt failed"), 0);
}

TEST_F(GangSystem, RemovesARunnerThatIsFrozenAndGoesOn) {
  StartTwoWorkersOfTwoSlots();
  const std::string job =
      cluster_->Submit(folder_ / "job.yaml", LongSegments(/*ranks=*/4));
  ASSERT_TRUE(Eventually([&] {
    return cluster_->Runners().size() == 4 && cluster_->HasCheckpoint();
  })) << cluster_->Logs();
  const int frozen = cluster_->Runners("b")[0];
  kill(frozen, SIGSTOP);
  // It is gone, and not only given up: a frozen one would keep its slot.
  EXPECT_TRUE(Eventually([&] { return kill(frozen, 0) != 0; }))
      << cluster_->Logs();
  ExpectDigestOfOneRank(job, LongSegments(1));
  EXPECT_GT(cluster_->CountInLogs("class=COLLECTIVE"), 0) << cluster_->Logs();
}

TEST_F(GangSystem, WaitsForARunnerThatIsFrozenForASecond) {
  StartTwoWorkersOfTwoSlots();
  const std::string job =
      cluster_->Submit(folder_ / "job.yaml", LongSegments(/*ranks=*/4));
  ASSERT_TRUE(Eventually([&] {
    return cluster_->Runners().size() == 4 && cluster_->HasCheckpoint();
  })) << cluster_->Logs();
  const int frozen = cluster_->Runners("b")[0];
  kill(frozen, SIGSTOP);
  const absl::Time moment = PollNow() + absl::Seconds(1);
  Eventually([&] { return PollNow() >= moment; });
  kill(frozen, SIGCONT);
  ExpectDigestOfOneRank(job, LongSegments(1));
  EXPECT_EQ(cluster_->CountInLogs("attempt failed"), 0) << cluster_->Logs();
}

TEST_F(GangSystem, GoesOnWithFewerRanksWhenAWorkerIsGone) {
  StartTwoWorkersOfTwoSlots();
  std::vector<std::string> settings = LongSegments(/*ranks=*/4);
  settings.push_back("resources.min_ranks=2");
  settings.push_back("resources.regroup_wait=1");
  const std::string job = cluster_->Submit(folder_ / "job.yaml", settings);
  ASSERT_TRUE(Eventually([&] {
    return cluster_->Runners().size() == 4 && cluster_->HasCheckpoint();
  })) << cluster_->Logs();
  cluster_->KillWorker("b");
  ASSERT_TRUE(Eventually([&] { return cluster_->CountStarts(1, 2) > 0; }))
      << cluster_->Logs();
  // The next segment is a new gang; it does not wait for slots that are gone.
  ExpectDigestOfOneRank(job, LongSegments(1));
}

TEST_F(GangSystem, ATrainerRankHasTheDigestOfOneRank) {
  StartTwoWorkersOfTwoSlots();
  const std::string job =
      cluster_->Submit(folder_ / "job.yaml",
                       {"resources.ranks=3", "resources.trainer_rank=true"});
  EXPECT_EQ(cluster_->AwaitDigest(job, folder_ / "out"),
            DigestOfOneRank(folder_, {}));
  // Two segments.
  EXPECT_EQ(CountTrainers(job), 2) << cluster_->Logs();
  cluster_->ExpectNothingLeft();
}

TEST_F(GangSystem, GoesOnWhenTheRankThatTrainsIsKilled) {
  StartTwoWorkersOfTwoSlots();
  std::vector<std::string> settings = LongSegments(/*ranks=*/3);
  settings.push_back("resources.trainer_rank=true");
  const std::string job = cluster_->Submit(folder_ / "job.yaml", settings);
  int trainer = 0;
  ASSERT_TRUE(Eventually([&] { return (trainer = RunnerOfRankZero()) != 0; }))
      << cluster_->Logs();
  kill(trainer, SIGKILL);
  EXPECT_EQ(cluster_->AwaitDigest(job, folder_ / "out"),
            DigestOfOneRank(folder_, LongSegments(1)));
  EXPECT_GT(cluster_->CountInLogs("attempt failed"), 0);
  // Two segments, one of them a second time.
  EXPECT_GE(CountTrainers(job), 3) << cluster_->Logs();
  cluster_->ExpectNothingLeft();
}

}  // namespace
}  // namespace dasm
