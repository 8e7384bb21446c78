#include "worker/engine/shard/shard_runner.h"

#include <ATen/ATen.h>

#include "gtest/gtest.h"
#include "worker/collective/faulty_collective.h"
#include "worker/engine/shard/gang_for_tests.h"

namespace dasm {
namespace {

constexpr int64_t kShards = 7;
constexpr int64_t kLength = 33;

// Values whose sum depends on its order.
at::Tensor RowOf(int64_t shard, at::ScalarType dtype) {
  const at::Tensor index = at::arange(kLength, at::kDouble);
  return (at::sin(index * 1.7 + shard) * at::exp(index % 5 - 2 * shard))
      .to(dtype);
}

class ShardRunnerTest : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(ShardRunnerTest, SumIsTheOneInShardOrderOnAnyNumberOfRanks) {
  at::Tensor expected = RowOf(0, GetParam());
  at::Tensor backwards = RowOf(kShards - 1, GetParam());
  for (int64_t s = 1; s < kShards; ++s) {
    expected = expected + RowOf(s, GetParam());
    backwards = backwards + RowOf(kShards - 1 - s, GetParam());
  }
  ASSERT_FALSE(expected.equal(backwards));
  for (int ranks = 1; ranks <= 9; ++ranks) {
    RunGang(ranks, [&](Collective* collective) {
      const ShardRunner runner(collective, at::kCPU);
      const auto sum = runner.Sum(kShards, kLength, GetParam(),
                                  [&](int64_t s, const at::Tensor& row) {
                                    EXPECT_TRUE(runner.Owns(s));
                                    row.copy_(RowOf(s, GetParam()));
                                  });
      ASSERT_TRUE(sum.ok()) << sum.status();
      EXPECT_TRUE(sum->equal(expected)) << ranks;
    });
  }
}

TEST_P(ShardRunnerTest, GatherBringsEveryRowWhole) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    RunGang(ranks, [&](Collective* collective) {
      const ShardRunner runner(collective, at::kCPU);
      const auto rows = runner.Gather(kShards, kLength, GetParam(),
                                      [](int64_t s, const at::Tensor& row) {
                                        row.copy_(RowOf(s, GetParam()));
                                      });
      ASSERT_TRUE(rows.ok()) << rows.status();
      ASSERT_EQ(rows->sizes(), (std::vector<int64_t>{kShards, kLength}));
      for (int64_t s = 0; s < kShards; ++s) {
        EXPECT_TRUE(rows->select(0, s).equal(RowOf(s, GetParam()))) << s;
      }
    });
  }
}

TEST_P(ShardRunnerTest, RanksBeforeTheFirstComputeNothingAndGetEverything) {
  at::Tensor expected = RowOf(0, GetParam());
  for (int64_t s = 1; s < kShards; ++s) {
    expected = expected + RowOf(s, GetParam());
  }
  for (int ranks = 2; ranks <= 4; ++ranks) {
    RunGang(ranks, [&](Collective* collective) {
      const ShardRunner runner(collective, at::kCPU, /*first=*/1);
      EXPECT_EQ(runner.owners(), ranks - 1);
      int computed = 0;
      const auto compute = [&](int64_t s, const at::Tensor& row) {
        EXPECT_TRUE(runner.Owns(s));
        ++computed;
        row.copy_(RowOf(s, GetParam()));
      };
      const auto sum = runner.Sum(kShards, kLength, GetParam(), compute);
      ASSERT_TRUE(sum.ok()) << sum.status();
      EXPECT_TRUE(sum->equal(expected)) << ranks;
      const auto rows = runner.Gather(kShards, kLength, GetParam(), compute);
      ASSERT_TRUE(rows.ok()) << rows.status();
      for (int64_t s = 0; s < kShards; ++s) {
        EXPECT_TRUE(rows->select(0, s).equal(RowOf(s, GetParam()))) << s;
      }
      EXPECT_EQ(computed > 0, runner.rank() > 0);
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Types, ShardRunnerTest,
                         ::testing::Values(at::kFloat, at::kDouble));

TEST(ShardRunner, GatherIntoFillsInPlaceWhatOthersOwn) {
  RunGang(3, [&](Collective* collective) {
    const ShardRunner runner(collective, at::kCPU);
    at::Tensor rows = at::full({4, 2, 3}, -1, at::kFloat);
    for (int64_t s = 0; s < 4; ++s) {
      if (runner.Owns(s)) rows[s].fill_(s);
    }
    ASSERT_TRUE(runner.GatherInto(4, rows).ok());
    for (int64_t s = 0; s < 4; ++s) {
      EXPECT_TRUE(rows[s].eq(s).all().item<bool>()) << s;
    }
  });
}

TEST(ShardRunner, PassesTheCollectivesErrorOn) {
  RunGang(2, [&](Collective* collective) {
    FaultyCollective faulty(collective,
                            {CollectiveFault::Kind::kAbort, /*at_call=*/0});
    const ShardRunner runner(collective->rank() == 1 ? &faulty : collective,
                             at::kCPU);
    const auto sum = runner.Sum(
        2, 1, at::kFloat, [](int64_t, const at::Tensor& row) { row.zero_(); });
    EXPECT_FALSE(sum.ok());
  });
}

}  // namespace
}  // namespace dasm
