#include "worker/cuda/nccl_collective.h"

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/fake_clock.h"
#include "common/base/random_stream.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/cuda/fake_nccl.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using Memory = Collective::Memory;

// Ranks over the fakes; time stands still unless a test moves it.
class NcclGang : public testing::Test {
 protected:
  struct Rank {
    std::unique_ptr<FakeDeviceQueue> queue;
    std::unique_ptr<NcclCollective> collective;
    absl::Status joined;
  };

  NcclCollective::Options Base() {
    NcclCollective::Options options;
    options.id = *nccl_.NewId();
    options.period = absl::Milliseconds(1);
    options.join_deadline = absl::Seconds(10);
    options.least_deadline = absl::Seconds(60);
    options.abort_deadline = absl::Seconds(5);
    options.on_stuck = [this](const absl::Status& why) {
      stuck_status_ = why;
      stuck_ = true;
    };
    return options;
  }
  void Join(int ranks, Memory memory = Memory::kHost, bool ordered = true) {
    NcclCollective::Options options = Base();
    options.ranks = ranks;
    options.memory = memory;
    options.ordered = ordered;
    ranks_.resize(ranks);
    OnEveryRank([&](int rank) {
      NcclCollective::Options mine = options;
      mine.rank = rank;
      ranks_[rank].queue = std::make_unique<FakeDeviceQueue>(&nccl_);
      auto joined =
          NcclCollective::Join(mine, &nccl_, ranks_[rank].queue.get(), &clock_);
      ranks_[rank].joined = joined.status();
      if (joined.ok()) ranks_[rank].collective = *std::move(joined);
      return absl::OkStatus();
    });
    for (const Rank& rank : ranks_)
      ASSERT_TRUE(rank.joined.ok()) << rank.joined;
  }
  ~NcclGang() override {
    nccl_.ReleaseAborts();
    // Together: leaving waits for peers.
    OnEveryRank([&](int rank) {
      ranks_[rank].collective.reset();
      return absl::OkStatus();
    });
  }

  std::vector<absl::Status> OnEveryRank(
      const std::function<absl::Status(int)>& body) {
    std::vector<absl::Status> statuses(ranks_.size());
    std::vector<std::thread> threads;
    for (size_t r = 0; r < ranks_.size(); ++r) {
      threads.emplace_back([&, r] { statuses[r] = body(static_cast<int>(r)); });
    }
    for (std::thread& thread : threads) thread.join();
    return statuses;
  }
  void ExpectAllOk(const std::function<absl::Status(int)>& body) {
    for (const absl::Status& status : OnEveryRank(body)) {
      EXPECT_TRUE(status.ok()) << status;
    }
  }
  NcclCollective& at(int rank) { return *ranks_[rank].collective; }

  FakeClock clock_;
  FakeNccl nccl_;
  std::vector<Rank> ranks_;
  absl::Status stuck_status_;
  std::atomic<bool> stuck_ = false;
};

// Rows whose sum depends on the order.
std::vector<float> Rows(int64_t shards, int64_t length) {
  std::vector<float> rows(shards * length);
  RandomSequence random = RandomStream(3, "rows").At();
  for (float& value : rows) {
    value = static_cast<float>(random.Normal() *
                               static_cast<double>(1u << random.Below(30)));
  }
  return rows;
}

std::vector<float> Owned(const std::vector<float>& rows, int64_t shards,
                         int rank, int ranks, int first = 0) {
  const int64_t length = static_cast<int64_t>(rows.size()) / shards;
  std::vector<float> owned(rows.size(), -12345.0f);
  for (int64_t s = 0; s < shards; ++s) {
    if (OwnerOfShard(s, ranks, first) != rank) continue;
    std::copy_n(rows.begin() + s * length, length, owned.begin() + s * length);
  }
  return owned;
}

std::vector<float> SumInOrder(const std::vector<float>& rows, int64_t shards) {
  const int64_t length = static_cast<int64_t>(rows.size()) / shards;
  std::vector<float> sum(rows.begin(), rows.begin() + length);
  for (int64_t s = 1; s < shards; ++s) {
    for (int64_t i = 0; i < length; ++i) sum[i] += rows[s * length + i];
  }
  return sum;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST_F(NcclGang, OrderedSumHasTheBitsOfShardOrderForAnyNumberOfRanks) {
  for (int ranks = 1; ranks <= 4; ++ranks) {
    Join(ranks);
    for (int64_t shards : {1, 2, 3, 5, 10}) {
      for (int64_t length : {0, 1, 17, 1000}) {
        SCOPED_TRACE(absl::StrCat(ranks, ": ", shards, " x ", length));
        const std::vector<float> rows = Rows(shards, length);
        const std::vector<float> expected =
            length == 0 ? std::vector<float>() : SumInOrder(rows, shards);
        std::vector<std::vector<float>> sums(ranks);
        ExpectAllOk([&](int rank) {
          sums[rank].assign(length, 9.0f);
          return at(rank).SumShards(Owned(rows, shards, rank, ranks), shards,
                                    absl::MakeSpan(sums[rank]));
        });
        for (const auto& sum : sums) EXPECT_TRUE(SameBits(sum, expected));
      }
    }
    OnEveryRank([&](int rank) {
      ranks_[rank].collective.reset();
      return absl::OkStatus();
    });
  }
}

TEST_F(NcclGang, FastSumIsCloseAndTheSameOnEveryRank) {
  Join(3, Memory::kHost, /*ordered=*/false);
  const std::vector<float> rows = Rows(7, 50);
  std::vector<std::vector<float>> sums(3);
  ExpectAllOk([&](int rank) {
    sums[rank].resize(50);
    return at(rank).SumShards(Owned(rows, 7, rank, 3), 7,
                              absl::MakeSpan(sums[rank]));
  });
  EXPECT_TRUE(SameBits(sums[0], sums[1]));
  EXPECT_TRUE(SameBits(sums[0], sums[2]));
  for (int i = 0; i < 50; ++i) {
    // Against the sum of magnitudes: what cancels may not be measured by what
    // is left.
    double sum = 0, magnitude = 0;
    for (int s = 0; s < 7; ++s) {
      sum += rows[s * 50 + i];
      magnitude += std::abs(rows[s * 50 + i]);
    }
    EXPECT_NEAR(sums[0][i], sum, 1e-6 * magnitude);
  }
}

TEST_F(NcclGang, GatherGivesEveryRankAllRows) {
  Join(3);
  for (int64_t shards : {1, 3, 8}) {
    const std::vector<float> rows = Rows(shards, 77);
    std::vector<std::vector<float>> gathered(3);
    ExpectAllOk([&](int rank) {
      gathered[rank] = Owned(rows, shards, rank, 3);
      return at(rank).GatherShards(absl::MakeSpan(gathered[rank]), shards);
    });
    for (const auto& all : gathered) EXPECT_TRUE(SameBits(all, rows));
  }
}

TEST_F(NcclGang, RanksBeforeTheFirstBringNothingAndGetEverything) {
  for (const bool ordered : {true, false}) {
    for (int ranks = 2; ranks <= 4; ++ranks) {
      Join(ranks, Memory::kHost, ordered);
      for (int first = 0; first < ranks; ++first) {
        for (int64_t shards : {1, 3, 8}) {
          SCOPED_TRACE(absl::StrCat(ranks, " from ", first, ": ", shards));
          const std::vector<float> rows = Rows(shards, 77);
          const std::vector<float> expected = SumInOrder(rows, shards);
          std::vector<std::vector<float>> all(ranks), sums(ranks);
          ExpectAllOk([&](int rank) {
            all[rank] = Owned(rows, shards, rank, ranks, first);
            sums[rank].resize(77);
            absl::Status status = at(rank).SumShards(
                all[rank], shards, absl::MakeSpan(sums[rank]), first);
            if (!status.ok()) return status;
            return at(rank).GatherShards(absl::MakeSpan(all[rank]), shards,
                                         first);
          });
          for (int rank = 0; rank < ranks; ++rank) {
            EXPECT_TRUE(SameBits(all[rank], rows));
            EXPECT_TRUE(SameBits(sums[rank], sums[0]));
            if (ordered) {
              EXPECT_TRUE(SameBits(sums[rank], expected));
            }
          }
          for (int i = 0; i < 77; ++i) {
            double magnitude = 0;
            for (int64_t s = 0; s < shards; ++s) {
              magnitude += std::abs(rows[s * 77 + i]);
            }
            EXPECT_NEAR(sums[0][i], expected[i], 1e-6 * magnitude);
          }
        }
      }
      OnEveryRank([&](int rank) {
        ranks_[rank].collective.reset();
        return absl::OkStatus();
      });
    }
  }
}

TEST_F(NcclGang, AFirstRankOutsideTheGangIsRefused) {
  Join(2);
  std::vector<float> rows(4), sum(2);
  EXPECT_EQ(at(0).SumShards(rows, 2, absl::MakeSpan(sum), 2).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(at(1).GatherShards(absl::MakeSpan(rows), 2, -1).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(NcclGang, BroadcastGivesEveryoneTheBytesOfRankZero) {
  Join(3);
  std::vector<std::string> bytes(3, "????????");
  bytes[0] = std::string("stop\0now", 8);
  ExpectAllOk([&](int rank) {
    return at(rank).Broadcast(absl::MakeSpan(bytes[rank]));
  });
  for (const std::string& each : bytes) EXPECT_EQ(each, bytes[0]);
  ExpectAllOk([&](int rank) { return at(rank).Broadcast({}); });
}

TEST_F(NcclGang, DeviceMemoryIsQueuedAndDoneInOrder) {
  Join(2, Memory::kDevice);
  const std::vector<float> rows = Rows(5, 64);
  std::vector<std::vector<float>> owned(2), sums(2), again(2), row(2), copy(2);
  for (int rank = 0; rank < 2; ++rank) {
    owned[rank] = Owned(rows, 5, rank, 2);
    sums[rank].resize(64);
    again[rank].resize(5 * 64);
  }
  // Rank 0 queues everything before rank 1 comes at all: nothing waits.
  for (int rank = 0; rank < 2; ++rank) {
    ASSERT_TRUE(
        at(rank).SumShards(owned[rank], 5, absl::MakeSpan(sums[rank])).ok());
    again[rank] = owned[rank];
    ASSERT_TRUE(at(rank).GatherShards(absl::MakeSpan(again[rank]), 5).ok());
    row[rank].assign(64, static_cast<float>(rank));
    copy[rank].resize(64);
    ASSERT_TRUE(
        at(rank).SumShards(row[rank], 1, absl::MakeSpan(copy[rank])).ok());
  }
  for (int rank = 0; rank < 2; ++rank) {
    ASSERT_TRUE(ranks_[rank].queue->Idle());
    EXPECT_TRUE(at(rank).Check().ok());
    EXPECT_TRUE(SameBits(sums[rank], SumInOrder(rows, 5)));
    EXPECT_TRUE(SameBits(again[rank], rows));
    EXPECT_EQ(copy[rank], std::vector<float>(64, 0.0f));
  }
}

TEST_F(NcclGang, CallsThatAreInProgressAreAwaited) {
  FakeNccl::Faults faults;
  faults.init_in_progress = 3;
  faults.call_in_progress = 4;
  nccl_.set_faults(faults);
  Join(2);
  ExpectAllOk([&](int rank) { return at(rank).Barrier(); });
  EXPECT_EQ(nccl_.aborts(), 0);
}

TEST_F(NcclGang, ARankThatNeverComesIsADeadlineThatAborts) {
  Join(2);
  absl::Status status;
  std::atomic<bool> entered = false;
  std::thread waiting([&] {
    entered = true;
    status = at(0).Barrier();
  });
  while (!entered) std::this_thread::yield();
  while (at(0).Check().ok()) clock_.Advance(absl::Seconds(10));
  waiting.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kCollective);
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 0 of 2"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("Barrier"));
  // Later calls fail at once with the same.
  std::vector<float> row(2);
  EXPECT_EQ(at(0).GatherShards(absl::MakeSpan(row), 2).message(),
            status.message());
}

TEST_F(NcclGang, ADeviceCallWithoutAPeerFailsBehindTheCaller) {
  Join(2, Memory::kDevice);
  std::vector<float> rows(4), sum(2);
  ASSERT_TRUE(at(0).SumShards(rows, 2, absl::MakeSpan(sum)).ok());
  while (at(0).Check().ok()) {
    clock_.Advance(absl::Seconds(10));
    std::this_thread::yield();
  }
  EXPECT_EQ(at(0).Check().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(at(0).Check().message()), HasSubstr("SumShards"));
  // What was queued behind it still runs, on these buffers.
  while (!ranks_[0].queue->Idle()) std::this_thread::yield();
}

TEST_F(NcclGang, ALostPeerIsReportedBeforeTheDeadline) {
  Join(2);
  FakeNccl::Faults faults;
  faults.lost_at_call = 0;
  nccl_.set_faults(faults);
  const absl::Status status = at(0).Barrier();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(FailureClassOf(status), FailureClass::kCollective);
  EXPECT_THAT(std::string(status.message()), HasSubstr("remote process"));
}

TEST_F(NcclGang, AbortEndsAPendingCallWithItsStatus) {
  Join(2);
  absl::Status status;
  std::thread waiting([&] { status = at(0).Barrier(); });
  at(0).Abort(absl::UnavailableError("drain"));
  waiting.join();
  EXPECT_EQ(status.message(), "drain");
  EXPECT_EQ(FailureClassOf(status), FailureClass::kCollective);
  at(0).Abort(absl::InternalError("too late to be heard"));
  EXPECT_EQ(at(0).Barrier().message(), "drain");
}

TEST_F(NcclGang, AnAbortThatDoesNotReturnIsTold) {
  FakeNccl::Faults faults;
  faults.abort_hangs = true;
  nccl_.set_faults(faults);
  Join(1);
  at(0).Abort(absl::UnavailableError("link cut"));
  while (!stuck_) {
    clock_.Advance(absl::Seconds(1));
    std::this_thread::yield();
  }
  EXPECT_THAT(std::string(stuck_status_.message()), HasSubstr("link cut"));
  EXPECT_THAT(std::string(stuck_status_.message()), HasSubstr("rank 0"));
  EXPECT_EQ(FailureClassOf(stuck_status_), FailureClass::kCollective);
}

TEST_F(NcclGang, LeavingInPeaceDestroysAndDoesNotAbort) {
  Join(2);
  ExpectAllOk([&](int rank) { return at(rank).Barrier(); });
  OnEveryRank([&](int rank) {
    ranks_[rank].collective.reset();
    return absl::OkStatus();
  });
  EXPECT_EQ(nccl_.destroyed(), 2);
  EXPECT_EQ(nccl_.aborts(), 0);
}

TEST_F(NcclGang, ADeviceErrorFailsTheCallAndTheGang) {
  Join(2);
  ranks_[0].queue->FailWith(
      WithFailureClass(absl::InternalError("an illegal memory access"),
                       FailureClass::kDeviceFault));
  const absl::Status status = at(0).Barrier();
  EXPECT_EQ(FailureClassOf(status), FailureClass::kDeviceFault);
  EXPECT_FALSE(at(0).Check().ok());
}

TEST_F(NcclGang, SizesThatDoNotFitAreRefused) {
  Join(1);
  std::vector<float> rows(21), sum(5);
  const absl::Status status = at(0).SumShards(rows, 4, absl::MakeSpan(sum));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("21 elements"));
}

TEST_F(NcclGang, JoiningFailsWithARankMissing) {
  NcclCollective::Options options = Base();
  options.ranks = 2;
  FakeDeviceQueue queue(&nccl_);
  absl::StatusOr<std::unique_ptr<NcclCollective>> joined =
      absl::UnknownError("");
  std::atomic<bool> done = false;
  std::thread joining([&] {
    joined = NcclCollective::Join(options, &nccl_, &queue, &clock_);
    done = true;
  });
  while (!done) {
    clock_.Advance(absl::Seconds(1));
    std::this_thread::yield();
  }
  joining.join();
  EXPECT_EQ(joined.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(joined.status().message()),
              HasSubstr("not all of 2 ranks"));
  EXPECT_EQ(nccl_.aborts(), 1);
}

TEST_F(NcclGang, JoiningSaysWhatTheLibrarySays) {
  FakeNccl::Faults faults;
  faults.init_error = "unhandled cuda error";
  nccl_.set_faults(faults);
  FakeDeviceQueue queue(&nccl_);
  NcclCollective::Options options = Base();
  auto joined = NcclCollective::Join(options, &nccl_, &queue, &clock_);
  EXPECT_EQ(FailureClassOf(joined.status()), FailureClass::kCollective);
  EXPECT_THAT(std::string(joined.status().message()),
              HasSubstr("unhandled cuda error"));
  options.id = "short";
  joined = NcclCollective::Join(options, &nccl_, &queue, &clock_);
  EXPECT_EQ(joined.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dasm
