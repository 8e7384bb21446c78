// A gang over two machines, each a network namespace: the digest of one rank
// also when a runner is killed, one is frozen, and the cable is cut.
#include <signal.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/cluster.h"
#include "tests/support/network_namespaces.h"
#include "tests/support/service.h"
#include "tests/support/tiny_dataset.h"
#include "tests/system/gang_job.h"

namespace dasm {
namespace {

using namespace testing_support;  // NOLINT
using testing::StartsWith;

// The coordinator runs beside worker "a".
class GangOnTwoMachines : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(machines_.error(), "");
    WriteTinyDataset({}, folder_.path());
    WriteText(folder_ / "job.yaml", TinyJob());
    ASSERT_TRUE(mkdir((folder_ / "cluster").c_str(), 0700) == 0);
    Cluster::Options options;
    options.folder = folder_ / "cluster";
    options.data = folder_.path();
    options.coordinator = machines_.first();
    cluster_ = std::make_unique<Cluster>(options);
    ASSERT_THAT(cluster_->StartCoordinator(), StartsWith("ready "));
    ASSERT_THAT(cluster_->StartWorker("a", 2, machines_.first()),
                StartsWith("ready "));
    ASSERT_THAT(cluster_->StartWorker("b", 2, machines_.second()),
                StartsWith("ready "));
    job_ = cluster_->Submit(folder_ / "job.yaml", LongSegments(/*ranks=*/4));
  }
  void AwaitGang() {
    ASSERT_TRUE(Eventually([&] {
      return cluster_->Runners().size() == 4 && cluster_->HasCheckpoint();
    })) << cluster_->Logs();
  }
  void ExpectDigestOfOneRank() {
    EXPECT_EQ(cluster_->AwaitDigest(job_, folder_ / "out"),
              DigestOfOneRank(folder_, LongSegments(1)));
    // On every rank of both segments.
    for (int rank = 0; rank < 4; ++rank) {
      EXPECT_GE(cluster_->CountStarts(rank, 4), 2) << cluster_->Logs();
    }
    cluster_->ExpectNothingLeft();
    EXPECT_EQ(machines_.error(), "");
  }

  TemporaryFolder folder_;
  TwoMachines machines_;
  std::unique_ptr<Cluster> cluster_;
  std::string job_;
};

TEST_F(GangOnTwoMachines, HasTheDigestOfOneRank) {
  ExpectDigestOfOneRank();
  EXPECT_EQ(cluster_->CountInLogs("attempt failed"), 0) << cluster_->Logs();
}

TEST_F(GangOnTwoMachines, GoesOnWhenARunnerIsKilled) {
  AwaitGang();
  kill(cluster_->Runners("b")[0], SIGKILL);
  ExpectDigestOfOneRank();
  EXPECT_GT(cluster_->CountInLogs("attempt failed"), 0);
}

TEST_F(GangOnTwoMachines, GoesOnWhenARunnerIsFrozen) {
  AwaitGang();
  const int frozen = cluster_->Runners("b")[1];
  kill(frozen, SIGSTOP);
  EXPECT_TRUE(Eventually([&] { return kill(frozen, 0) != 0; }))
      << cluster_->Logs();
  ExpectDigestOfOneRank();
  EXPECT_GT(cluster_->CountInLogs("class=COLLECTIVE"), 0) << cluster_->Logs();
}

TEST_F(GangOnTwoMachines, GoesOnWhenTheLinkIsCutForTenSeconds) {
  AwaitGang();
  machines_.SetLink(/*up=*/false);
  const absl::Time moment = PollNow() + absl::Seconds(10);
  Eventually([&] { return PollNow() >= moment; });
  machines_.SetLink(/*up=*/true);
  ExpectDigestOfOneRank();
  // The cut was felt: more attempts than segments.
  EXPECT_GT(cluster_->CountStarts(0, 4), 2) << cluster_->Logs();
}

}  // namespace
}  // namespace dasm
