// The contract of collective.h, over every implementation and 1 .. 4 ranks.
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/error.h"
#include "common/base/random_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/faulty_collective.h"
#include "worker/collective/process_gang_for_tests.h"
#include "worker/collective/single_process_collective.h"
#include "worker/collective/thread_collective.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

struct TestGang {
  std::unique_ptr<JoinedGang> processes;
  std::vector<std::unique_ptr<Collective>> inner;
  std::vector<std::unique_ptr<Collective>> ranks;
};

struct Case {
  std::string name;
  int size;
  std::function<TestGang(int)> make;
  // The bits of a sum are those of shard order.
  bool ordered = true;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name << c.size; }

TestGang Single(int) {
  TestGang gang;
  gang.ranks.push_back(std::make_unique<SingleProcessCollective>());
  return gang;
}

TestGang Threads(int size) {
  TestGang gang;
  gang.ranks = *ThreadGang::Create(size, absl::ZeroDuration());
  return gang;
}

// A FaultyCollective without a fault must be invisible.
TestGang Decorated(int size) {
  TestGang gang;
  gang.inner = *ThreadGang::Create(size, absl::ZeroDuration());
  for (auto& inner : gang.inner) {
    gang.ranks.push_back(
        std::make_unique<FaultyCollective>(inner.get(), CollectiveFault{}));
  }
  return gang;
}

TestGang Processes(const std::vector<int>& threads, Reduction reduction) {
  TestGang gang;
  gang.processes = std::make_unique<JoinedGang>(
      threads, ProcessGang::Options{.reduction = reduction});
  gang.ranks = std::move(gang.processes->ranks);
  return gang;
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {{"Single", 1, Single}};
  for (int size = 1; size <= 4; ++size) {
    cases.push_back({"Threads", size, Threads});
    cases.push_back({"Decorated", size, Decorated});
  }
  const std::vector<std::vector<int>> layouts = {
      {1}, {2}, {1, 1}, {2, 1}, {2, 2}, {1, 1, 1}, {1, 2, 1}, {1, 1, 1, 1}};
  for (const std::vector<int>& threads : layouts) {
    const int size = std::accumulate(threads.begin(), threads.end(), 0);
    for (Reduction reduction : {Reduction::kOrdered, Reduction::kFast}) {
      const bool fast = reduction == Reduction::kFast;
      cases.push_back(
          {absl::StrCat(fast ? "Fast" : "", "Processes",
                        absl::StrJoin(threads, ""), "Of"),
           size,
           [threads, reduction](int) { return Processes(threads, reduction); },
           !fast || threads.size() == 1});
    }
  }
  return cases;
}

class CollectiveContract : public testing::TestWithParam<Case> {
 protected:
  CollectiveContract() : gang_(GetParam().make(GetParam().size)) {}

  // Runs `body` on a thread for each rank and returns what it returned.
  std::vector<absl::Status> OnEveryRank(
      const std::function<absl::Status(Collective*)>& body) {
    std::vector<absl::Status> statuses(gang_.ranks.size());
    std::vector<std::thread> threads;
    for (size_t r = 0; r < gang_.ranks.size(); ++r) {
      threads.emplace_back(
          [&, r] { statuses[r] = body(gang_.ranks[r].get()); });
    }
    for (std::thread& thread : threads) thread.join();
    return statuses;
  }
  void ExpectAllOk(const std::function<absl::Status(Collective*)>& body) {
    for (const absl::Status& status : OnEveryRank(body)) {
      EXPECT_TRUE(status.ok()) << status;
    }
  }

  TestGang gang_;
};

// Rows whose sum depends on the order: magnitudes over 2^30.
std::vector<float> Rows(int64_t shards, int64_t length) {
  std::vector<float> rows(shards * length);
  RandomSequence random = RandomStream(7, "rows").At();
  for (float& value : rows) {
    value = static_cast<float>(random.Normal() *
                               static_cast<double>(1u << random.Below(30)));
  }
  return rows;
}

std::vector<float> SumInOrder(const std::vector<float>& rows, int64_t shards,
                              bool reversed = false) {
  const int64_t length = static_cast<int64_t>(rows.size()) / shards;
  std::vector<float> sum(length);
  for (int64_t i = 0; i < length; ++i) {
    float total = rows[(reversed ? shards - 1 : 0) * length + i];
    for (int64_t s = 1; s < shards; ++s) {
      total += rows[(reversed ? shards - 1 - s : s) * length + i];
    }
    sum[i] = total;
  }
  return sum;
}

// The rows of one rank; the others are garbage that must not be read.
std::vector<float> Owned(const std::vector<float>& rows, int64_t shards,
                         const Collective& collective, int first = 0) {
  const int64_t length = static_cast<int64_t>(rows.size()) / shards;
  std::vector<float> owned(rows.size(), -12345.0f);
  for (int64_t s = 0; s < shards; ++s) {
    if (OwnerOfShard(s, collective.size(), first) != collective.rank()) {
      continue;
    }
    std::copy(rows.begin() + s * length, rows.begin() + (s + 1) * length,
              owned.begin() + s * length);
  }
  return owned;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_P(CollectiveContract, RanksAreNumberedFromZero) {
  ASSERT_EQ(gang_.ranks.size(), static_cast<size_t>(GetParam().size));
  for (size_t r = 0; r < gang_.ranks.size(); ++r) {
    EXPECT_EQ(gang_.ranks[r]->rank(), static_cast<int>(r));
    EXPECT_EQ(gang_.ranks[r]->size(), GetParam().size);
  }
}

TEST_P(CollectiveContract, SumHasTheSameBitsEverywhereThoseOfShardOrder) {
  for (int64_t shards : {1, 2, 3, 5, 10}) {
    for (int64_t length : {0, 1, 17, 1000, 150001}) {
      SCOPED_TRACE(absl::StrCat(shards, " x ", length));
      const std::vector<float> rows = Rows(shards, length);
      const std::vector<float> expected = SumInOrder(rows, shards);
      std::vector<std::vector<float>> sums(GetParam().size);
      ExpectAllOk([&](Collective* c) {
        std::vector<float> owned = Owned(rows, shards, *c);
        std::vector<float>& sum = sums[c->rank()];
        sum.assign(length, 99.0f);
        return c->SumShards(owned, shards, absl::MakeSpan(sum));
      });
      for (const std::vector<float>& sum : sums) {
        EXPECT_TRUE(SameBits(sum, sums[0]));
        if (GetParam().ordered) {
          EXPECT_TRUE(SameBits(sum, expected));
        }
      }
      // Both orders are within a rounding of each of the additions.
      for (int64_t i = 0; i < length; ++i) {
        double magnitude = 0;
        for (int64_t s = 0; s < shards; ++s) {
          magnitude += std::abs(rows[s * length + i]);
        }
        EXPECT_NEAR(sums[0][i], expected[i], 2e-7 * shards * magnitude);
      }
    }
  }
}

TEST(ShardOrder, AnotherOrderGivesOtherBits) {
  const std::vector<float> rows = Rows(10, 5003);
  EXPECT_FALSE(
      SameBits(SumInOrder(rows, 10), SumInOrder(rows, 10, /*reversed=*/true)));
}

TEST_P(CollectiveContract, SumKeepsTheSignOfZero) {
  std::vector<std::vector<float>> sums(GetParam().size);
  ExpectAllOk([&](Collective* c) {
    const std::vector<float> rows(2, -0.0f);
    sums[c->rank()].assign(1, 1.0f);
    return c->SumShards(rows, 2, absl::MakeSpan(sums[c->rank()]));
  });
  for (const std::vector<float>& sum : sums) {
    EXPECT_TRUE(SameBits(sum, {-0.0f}));
  }
}

TEST_P(CollectiveContract, GatherGivesEveryRankAllRows) {
  for (int64_t shards : {1, 3, 8}) {
    const std::vector<float> rows = Rows(shards, shards == 3 ? 70001 : 77);
    std::vector<std::vector<float>> gathered(GetParam().size);
    ExpectAllOk([&](Collective* c) {
      std::vector<float>& mine = gathered[c->rank()];
      mine = Owned(rows, shards, *c);
      return c->GatherShards(absl::MakeSpan(mine), shards);
    });
    for (const std::vector<float>& all : gathered) {
      EXPECT_TRUE(SameBits(all, rows));
    }
  }
}

TEST(ShardOwners, AreTheRanksFromTheFirstOn) {
  std::vector<int> owners;
  for (int64_t s = 0; s < 5; ++s) owners.push_back(OwnerOfShard(s, 4, 0));
  EXPECT_EQ(owners, (std::vector<int>{0, 1, 2, 3, 0}));
  owners.clear();
  for (int64_t s = 0; s < 5; ++s) owners.push_back(OwnerOfShard(s, 4, 2));
  EXPECT_EQ(owners, (std::vector<int>{2, 3, 2, 3, 2}));
}

TEST_P(CollectiveContract, RanksBeforeTheFirstBringNothingAndGetEverything) {
  for (int first = 0; first < GetParam().size; ++first) {
    for (int64_t shards : {1, 2, 3, 10}) {
      SCOPED_TRACE(absl::StrCat(shards, " shards from rank ", first));
      const std::vector<float> rows = Rows(shards, 30011);
      const std::vector<float> expected = SumInOrder(rows, shards);
      std::vector<std::vector<float>> sums(GetParam().size);
      std::vector<std::vector<float>> gathered(GetParam().size);
      ExpectAllOk([&](Collective* c) {
        std::vector<float>& all = gathered[c->rank()];
        all = Owned(rows, shards, *c, first);
        std::vector<float>& sum = sums[c->rank()];
        sum.assign(expected.size(), 99.0f);
        absl::Status status =
            c->SumShards(all, shards, absl::MakeSpan(sum), first);
        if (!status.ok()) return status;
        return c->GatherShards(absl::MakeSpan(all), shards, first);
      });
      for (int rank = 0; rank < GetParam().size; ++rank) {
        EXPECT_TRUE(SameBits(gathered[rank], rows));
        EXPECT_TRUE(SameBits(sums[rank], sums[0]));
        // One row comes as it is.
        if (GetParam().ordered || shards == 1) {
          EXPECT_TRUE(SameBits(sums[rank], expected));
        }
      }
      for (size_t i = 0; i < expected.size(); ++i) {
        double magnitude = 0;
        for (int64_t s = 0; s < shards; ++s) {
          magnitude += std::abs(rows[s * expected.size() + i]);
        }
        ASSERT_NEAR(sums[0][i], expected[i], 2e-7 * shards * magnitude);
      }
    }
  }
}

TEST_P(CollectiveContract, AFirstRankOutsideTheGangIsRefusedOnEveryRank) {
  for (const bool gather : {false, true}) {
    for (const absl::Status& status : OnEveryRank([&](Collective* c) {
           std::vector<float> rows(2 * 3);
           std::vector<float> sum(3);
           return gather
                      ? c->GatherShards(absl::MakeSpan(rows), 2, -1)
                      : c->SumShards(rows, 2, absl::MakeSpan(sum), c->size());
         })) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr(absl::StrCat("of ", GetParam().size, " ranks")));
    }
  }
}

TEST_P(CollectiveContract, BroadcastGivesEveryoneTheBytesOfRankZero) {
  std::vector<std::string> bytes(GetParam().size);
  ExpectAllOk([&](Collective* c) {
    std::string& mine = bytes[c->rank()];
    mine = c->rank() == 0 ? std::string("stop\0now", 8) : std::string(8, '?');
    return c->Broadcast(absl::MakeSpan(mine));
  });
  for (const std::string& each : bytes) {
    EXPECT_EQ(each, std::string("stop\0now", 8));
  }
}

TEST_P(CollectiveContract, BroadcastOfAnySizeArrives) {
  for (size_t size : {0, 1, 63, 1 << 20}) {
    std::vector<std::string> bytes(GetParam().size);
    std::string sent(size, 'x');
    for (size_t i = 0; i < size; ++i) sent[i] = static_cast<char>(i * 31 >> 3);
    ExpectAllOk([&](Collective* c) {
      std::string& mine = bytes[c->rank()];
      mine = c->rank() == 0 ? sent : std::string(size, '?');
      return c->Broadcast(absl::MakeSpan(mine));
    });
    for (const std::string& each : bytes) EXPECT_TRUE(each == sent) << size;
  }
}

TEST_P(CollectiveContract, BarrierLetsNobodyPassBeforeTheLastHasCome) {
  std::vector<std::atomic<int>> written(GetParam().size);
  ExpectAllOk([&](Collective* c) {
    for (int round = 1; round <= 50; ++round) {
      written[c->rank()] = round;
      absl::Status status = c->Barrier();
      if (!status.ok()) return status;
      for (const std::atomic<int>& value : written) {
        if (value != round) return absl::InternalError("passed too early");
      }
      status = c->Barrier();
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  });
}

// Back-to-back operations reuse buffers at once: a rank that is still reading
// would see the next step's values.
TEST_P(CollectiveContract, ManyStepsInARowStayInStep) {
  ExpectAllOk([&](Collective* c) {
    std::vector<float> rows(4 * 33);
    std::vector<float> sum(33);
    for (int step = 0; step < 200; ++step) {
      std::fill(rows.begin(), rows.end(), static_cast<float>(step));
      absl::Status status = c->SumShards(rows, 4, absl::MakeSpan(sum));
      if (!status.ok()) return status;
      for (float value : sum) {
        if (value != 4.0f * step) return absl::InternalError("wrong sum");
      }
    }
    return absl::OkStatus();
  });
}

TEST_P(CollectiveContract, AbortFailsPendingAndLaterCallsWithItsStatus) {
  // All ranks but the last wait; the last one aborts instead of coming.
  const auto statuses = OnEveryRank([&](Collective* c) {
    if (c->rank() == c->size() - 1) {
      c->Abort(absl::UnavailableError("drain"));
    }
    return c->Barrier();
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(status.message(), "drain");
    EXPECT_EQ(FailureClassOf(status), FailureClass::kCollective);
  }
  const auto later = OnEveryRank([&](Collective* c) {
    c->Abort(absl::InternalError("too late to be heard"));
    std::vector<float> rows(c->size() * 3);
    std::vector<float> sum(3);
    return c->SumShards(rows, c->size(), absl::MakeSpan(sum));
  });
  for (const absl::Status& status : later) {
    EXPECT_EQ(status.message(), "drain");
  }
}

TEST_P(CollectiveContract, AbortWithOkStillFails) {
  gang_.ranks[0]->Abort(absl::OkStatus());
  for (const absl::Status& status :
       OnEveryRank([](Collective* c) { return c->Barrier(); })) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  }
}

TEST_P(CollectiveContract, SizesThatDoNotFitAreRefusedOnEveryRank) {
  // The last rank is wrong, the others are right and must not wait for ever.
  const auto statuses = OnEveryRank([&](Collective* c) {
    const int64_t extra = c->rank() == c->size() - 1 ? 1 : 0;
    std::vector<float> rows(4 * 5 + extra);
    std::vector<float> sum(5);
    return c->SumShards(rows, 4, absl::MakeSpan(sum));
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("21 elements"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, CollectiveContract, testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           return absl::StrCat(info.param.name,
                                               info.param.size);
                         });

}  // namespace
}  // namespace dasm
