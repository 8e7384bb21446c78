// A segment over the ranks of a gang has the digest of one rank, whatever is
// killed or frozen meanwhile: runners of two workers on one machine.
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
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

}  // namespace
}  // namespace dasm
