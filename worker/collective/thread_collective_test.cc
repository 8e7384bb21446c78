#include "worker/collective/thread_collective.h"

#include <atomic>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/faulty_collective.h"
#include "worker/collective/sum_for_tests.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = CollectiveFault::Kind;

// A gang in which rank 1 has a fault.
class FaultyGang {
 public:
  FaultyGang(int size, absl::Duration timeout, CollectiveFault fault)
      : ranks_(*ThreadGang::Create(size, timeout)),
        faulty_(ranks_[1].get(), std::move(fault)) {}

  Collective* rank(int r) { return r == 1 ? &faulty_ : ranks_[r].get(); }
  FaultyCollective& faulty() { return faulty_; }

  // `body` on every rank's own thread; a rank's failure ends rank 1's hang,
  // as an agent that kills the gang would.
  std::vector<absl::Status> Run(
      const std::function<absl::Status(Collective*)>& body) {
    std::vector<absl::Status> statuses(ranks_.size());
    std::vector<std::thread> threads;
    for (size_t r = 0; r < ranks_.size(); ++r) {
      threads.emplace_back([&, r] {
        statuses[r] = body(rank(static_cast<int>(r)));
        if (r != 1 && !statuses[r].ok()) faulty_.Release();
      });
    }
    for (std::thread& thread : threads) thread.join();
    return statuses;
  }

 private:
  std::vector<std::unique_ptr<Collective>> ranks_;
  FaultyCollective faulty_;
};

TEST(ThreadGang, RefusesSizesAndTimeoutsThatMakeNoSense) {
  EXPECT_FALSE(ThreadGang::Create(0, absl::ZeroDuration()).ok());
  EXPECT_FALSE(ThreadGang::Create(1025, absl::ZeroDuration()).ok());
  EXPECT_FALSE(ThreadGang::Create(2, absl::Seconds(-1)).ok());
}

TEST(ThreadGang, PeerThatHangsIsADeadlineThatNamesIt) {
  FaultyGang gang(4, absl::Seconds(2), {.kind = Kind::kHang, .at_call = 2});
  const auto statuses = gang.Run([](Collective* c) {
    for (int step = 0; step < 2; ++step) {
      absl::Status status = SumOnes(c);
      if (!status.ok()) return status;
    }
    return SumOnes(c);
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("rank 1 did not come to SumShards #2 within 2s"));
    EXPECT_EQ(FailureClassOf(status), FailureClass::kCollective);
  }
}

TEST(ThreadGang, DeadlineNamesEveryMissingRank) {
  auto ranks = *ThreadGang::Create(4, absl::Milliseconds(20));
  const absl::Status status = ranks[2]->Barrier();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("rank 0, 1, 3 did not come to Barrier #0"));
  // The gang is dead: a rank that comes late does not wait again.
  EXPECT_EQ(ranks[0]->Barrier(), status);
}

TEST(ThreadGang, PeerWhoseCollectiveIsDestroyedIsNamed) {
  auto ranks = *ThreadGang::Create(3, absl::ZeroDuration());
  std::vector<absl::Status> statuses(2);
  std::thread zero([&] { statuses[0] = SumOnes(ranks[0].get()); });
  std::thread one([&] { statuses[1] = SumOnes(ranks[1].get()); });
  ranks[2].reset();
  zero.join();
  one.join();
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 2 is gone"));
  }
}

TEST(ThreadGang, RankThatIsDoneMayGoWhileOthersWakeUp) {
  for (int round = 0; round < 200; ++round) {
    auto ranks = *ThreadGang::Create(3, absl::ZeroDuration());
    std::atomic<int> failed = 0;
    std::vector<std::thread> threads;
    for (auto& rank : ranks) {
      threads.emplace_back([&failed, mine = std::move(rank)]() mutable {
        if (!SumOnes(mine.get()).ok()) ++failed;
        mine.reset();
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(failed, 0);
  }
}

TEST(ThreadGang, RanksThatMakeDifferentCallsAreToldSo) {
  auto ranks = *ThreadGang::Create(2, absl::ZeroDuration());
  absl::Status other;
  std::thread one([&] { other = ranks[1]->Barrier(); });
  const absl::Status status = SumOnes(ranks[0].get());
  one.join();
  EXPECT_EQ(status, other);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("rank 0 SumShards of 4 x 40"),
                    HasSubstr("rank 1 Barrier")));
}

TEST(ThreadGang, RanksThatDisagreeAboutTheFirstAreToldSo) {
  auto ranks = *ThreadGang::Create(2, absl::ZeroDuration());
  absl::Status other;
  std::thread one([&] { other = SumOnes(ranks[1].get(), 4, 40, nullptr, 1); });
  const absl::Status status = SumOnes(ranks[0].get());
  one.join();
  EXPECT_EQ(status, other);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("rank 1 SumShards of 4 x 40 by the ranks from 1 on"));
}

// The buffers of a call that failed are the caller's again: a peer that still
// wrote into them would be a use after free (seen by ASan and TSan).
TEST(ThreadGang, BuffersAreFreeOnceAnAbortedCallReturned) {
  for (int round = 0; round < 200; ++round) {
    auto ranks = *ThreadGang::Create(3, absl::ZeroDuration());
    std::vector<std::thread> threads;
    for (int r = 0; r < 3; ++r) {
      threads.emplace_back([&, r] {
        auto rows = std::make_unique<std::vector<float>>(6 * 4000, 1.0f);
        auto sum = std::make_unique<std::vector<float>>(4000);
        absl::Status status;
        while (status.ok()) {
          status = ranks[r]->SumShards(*rows, 6, absl::MakeSpan(*sum));
        }
        std::fill(sum->begin(), sum->end(), 5.0f);
      });
    }
    ranks[round % 3]->Abort(absl::UnavailableError("stop"));
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(FaultyCollective, AbortIsHeardByEveryRank) {
  FaultyGang gang(3, absl::ZeroDuration(), {.kind = Kind::kAbort});
  for (const absl::Status& status :
       gang.Run([](Collective* c) { return SumOnes(c); })) {
    EXPECT_EQ(status.message(), "injected abort");
  }
}

TEST(FaultyCollective, NanReachesEveryRank) {
  FaultyGang gang(3, absl::ZeroDuration(), {.kind = Kind::kNan});
  std::vector<float> first(3);
  for (const absl::Status& status : gang.Run([&](Collective* c) {
         return SumOnes(c, 4, 40, &first[c->rank()]);
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
  for (float value : first) EXPECT_TRUE(std::isnan(value));
}

TEST(FaultyCollective, NanIsOfTheFirstShardThatTheRankOwns) {
  FaultyGang gang(3, absl::ZeroDuration(), {.kind = Kind::kNan});
  std::vector<std::vector<float>> rows(3, std::vector<float>(4));
  for (const absl::Status& status : gang.Run([&](Collective* c) {
         return c->GatherShards(absl::MakeSpan(rows[c->rank()]), 4,
                                /*first=*/1);
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
  for (const std::vector<float>& all : rows) {
    EXPECT_TRUE(std::isnan(all[0]));
    EXPECT_EQ(all[1], 0.0f);
  }
}

TEST(FaultyCollective, CorruptionIsOnItsRankOnly) {
  FaultyGang gang(3, absl::ZeroDuration(), {.kind = Kind::kCorrupt});
  std::vector<float> first(3);
  for (const absl::Status& status : gang.Run([&](Collective* c) {
         return SumOnes(c, 4, 40, &first[c->rank()]);
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(first[0], 4.0f);
  EXPECT_NE(first[1], 4.0f);
  EXPECT_EQ(first[2], 4.0f);
}

TEST(FaultyCollective, SlowRankIsWaitedFor) {
  std::atomic<bool> waited = false;
  FaultyGang gang(3, absl::ZeroDuration(),
                  {.kind = Kind::kSlow, .wait = [&] { waited = true; }});
  std::vector<float> first(3);
  for (const absl::Status& status : gang.Run([&](Collective* c) {
         return SumOnes(c, 4, 40, &first[c->rank()]);
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_TRUE(waited);
  for (float value : first) EXPECT_EQ(value, 4.0f);
}

}  // namespace
}  // namespace dasm
