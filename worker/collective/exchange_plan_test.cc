#include "worker/collective/exchange_plan.h"

#include <vector>

#include "gtest/gtest.h"

namespace dasm {
namespace {

TEST(GangLayout, ShardsGoRoundTheRanks) {
  const GangLayout layout({1, 2, 1});
  EXPECT_EQ(layout.ranks(), 4);
  EXPECT_EQ(layout.first_rank(2), 3);
  EXPECT_EQ(layout.process_of_shard(5), 1);
  for (int64_t shards : {0, 1, 3, 4, 6, 11}) {
    std::vector<int64_t> counted(3, 0);
    for (int64_t s = 0; s < shards; ++s) ++counted[layout.process_of_shard(s)];
    for (int p = 0; p < 3; ++p) {
      EXPECT_EQ(layout.shards_of(p, shards), counted[p]) << shards;
    }
  }
}

TEST(GangLayout, ShardsGoRoundTheRanksFromTheFirstOn) {
  const GangLayout layout({2, 1, 1});
  for (int first = 0; first < 4; ++first) {
    for (int64_t shards : {0, 1, 2, 3, 4, 6, 11}) {
      std::vector<int64_t> counted(3, 0);
      for (int64_t s = 0; s < shards; ++s) {
        ++counted[layout.process_of_shard(s, first)];
      }
      for (int p = 0; p < 3; ++p) {
        EXPECT_EQ(layout.shards_of(p, shards, first), counted[p])
            << shards << " from " << first;
      }
    }
  }
}

TEST(ExchangePlan, RangesAndBlocksCoverEveryElementOnce) {
  for (int64_t length : {0, 1, 15, 16, 17, 100, 300'001}) {
    const ExchangePlan plan(GangLayout({1, 1, 1}), Reduction::kOrdered,
                            Operation::kSumShards, 7, length);
    int64_t next = 0;
    for (int p = 0; p < 3; ++p) {
      const ExchangePlan::Range range = plan.range(p);
      for (int64_t b = 0; b < plan.Blocks(range); ++b) {
        EXPECT_EQ(plan.Block(range, b).begin, next);
        EXPECT_GT(plan.Block(range, b).size(), 0);
        next = plan.Block(range, b).end;
      }
      EXPECT_EQ(next, range.end);
    }
    EXPECT_EQ(next, length);
  }
}

TEST(ExchangePlan, BytesOfTwoRanksAreThoseOfOneRow) {
  // Half of the own row, and the sum of the own half.
  const ExchangePlan plan(GangLayout({1, 1}), Reduction::kOrdered,
                          Operation::kSumShards, 2, 1 << 18);
  EXPECT_EQ(plan.PayloadBytesSent(0), 1 << 20);
  EXPECT_EQ(plan.PayloadBytesSent(1), 1 << 20);
}

TEST(ExchangePlan, FastSendsOneRowForAllShards) {
  const GangLayout layout({1, 1});
  const ExchangePlan ordered(layout, Reduction::kOrdered, Operation::kSumShards,
                             10, 3200);
  const ExchangePlan fast(layout, Reduction::kFast, Operation::kSumShards, 10,
                          3200);
  EXPECT_EQ(ordered.PayloadBytesSent(0), 4 * (5 * 1600 + 1600));
  EXPECT_EQ(fast.PayloadBytesSent(0), 4 * (1600 + 1600));
}

TEST(ExchangePlan, FastWithFewerShardsThanProcessesSendsNoRowOfNobody) {
  const ExchangePlan plan(GangLayout({1, 1, 1}), Reduction::kFast,
                          Operation::kSumShards, 2, 3 * 160);
  EXPECT_EQ(plan.rows(2), 0);
  EXPECT_EQ(plan.PayloadBytesSent(2), 4 * 2 * 160);
}

TEST(ExchangePlan, AProcessBeforeTheFirstRankSendsOnlySumsOfItsRange) {
  const GangLayout layout({1, 1, 1});
  const int64_t n = 3 * 160;
  for (const Reduction reduction : {Reduction::kOrdered, Reduction::kFast}) {
    const ExchangePlan sum(layout, reduction, Operation::kSumShards, 4, n,
                           /*first=*/1);
    EXPECT_EQ(sum.rows(0), 0);
    EXPECT_EQ(sum.PayloadBytesSent(0), 4 * 2 * 160);
    const int64_t rows = reduction == Reduction::kFast ? 1 : 2;
    EXPECT_EQ(sum.PayloadBytesSent(1), 4 * (rows * 2 * 160 + 2 * 160));
  }
  const ExchangePlan gather(layout, Reduction::kOrdered,
                            Operation::kGatherShards, 4, n, /*first=*/1);
  EXPECT_EQ(gather.PayloadBytesSent(0), 0);
  EXPECT_EQ(gather.PayloadBytesSent(2), 4 * 2 * n * 2);
}

}  // namespace
}  // namespace dasm
