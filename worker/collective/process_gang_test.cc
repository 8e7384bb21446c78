#include "worker/collective/process_gang.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/collective/exchange_plan.h"
#include "worker/collective/faulty_collective.h"
#include "worker/collective/gang_join.h"
#include "worker/collective/gang_network.h"
#include "worker/collective/process_exchange.h"
#include "worker/collective/process_gang_for_tests.h"
#include "worker/collective/sum_for_tests.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = CollectiveFault::Kind;

std::vector<absl::Status> OnEveryRank(
    const std::vector<std::unique_ptr<Collective>>& ranks,
    const std::function<absl::Status(Collective*)>& body) {
  std::vector<absl::Status> statuses(ranks.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < ranks.size(); ++r) {
    threads.emplace_back([&, r] { statuses[r] = body(ranks[r].get()); });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

ProcessGang::Options Within(absl::Duration deadline) {
  ProcessGang::Options options;
  options.minimum_deadline = deadline;
  options.join_timeout = absl::Seconds(30);
  return options;
}

void ExpectFailure(const absl::Status& status, absl::StatusCode code,
                   const std::string& text) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  EXPECT_EQ(FailureClassOf(status), FailureClass::kCollective);
}

TEST(ProcessGang, RefusesArgumentsThatMakeNoSense) {
  ListeningGang gang({1});
  const auto join = [&](int process, std::vector<ProcessGang::Member> members,
                        std::string secret, ProcessGang::Options options) {
    return gang.processes[0]
        ->Join(process, members, secret, options)
        .status()
        .code();
  };
  const auto bad = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(join(0, {}, TestGangSecret(), {}), bad);
  EXPECT_EQ(join(1, gang.members, TestGangSecret(), {}), bad);
  EXPECT_EQ(join(0, {{"unix:/x", 0}}, TestGangSecret(), {}), bad);
  EXPECT_EQ(join(0, gang.members, "short", {}), bad);
  EXPECT_EQ(join(0, gang.members, TestGangSecret(),
                 {.minimum_deadline = absl::ZeroDuration()}),
            bad);
  EXPECT_EQ(join(0, gang.members, TestGangSecret(), {}), absl::StatusCode::kOk);
  EXPECT_EQ(join(0, gang.members, TestGangSecret(), {}),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ProcessGang, ListensOnAnyPortAndSaysWhich) {
  auto gang = ProcessGang::Listen("127.0.0.1:0");
  ASSERT_TRUE(gang.ok()) << gang.status();
  EXPECT_THAT((*gang)->endpoint(),
              AllOf(HasSubstr("127.0.0.1:"), Not(HasSubstr("127.0.0.1:0"))));
  const auto second = ProcessGang::Listen((*gang)->endpoint());
  ExpectFailure(second.status(), absl::StatusCode::kUnavailable,
                (*gang)->endpoint());
}

TEST(ProcessGang, SumsOverTcp) {
  std::vector<std::unique_ptr<ProcessGang>> processes;
  std::vector<ProcessGang::Member> members;
  for (int p = 0; p < 2; ++p) {
    processes.push_back(*ProcessGang::Listen("127.0.0.1:0"));
    members.push_back({processes[p]->endpoint(), 1});
  }
  std::vector<absl::Status> statuses(2);
  std::vector<std::thread> threads;
  for (int p = 0; p < 2; ++p) {
    threads.emplace_back([&, p] {
      auto ranks = processes[p]->Join(p, members, TestGangSecret(), {});
      statuses[p] =
          ranks.ok() ? SumOnes((*ranks)[0].get(), 3, 500'000) : ranks.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok());
}

TEST(ProcessGang, LeavesNoSocketBehind) {
  std::string path;
  auto folder = *TemporaryDirectory::Create();
  {
    auto gang =
        *ProcessGang::Listen(absl::StrCat("unix:", folder->path(), "/s"));
    EXPECT_TRUE(std::filesystem::exists(folder->path() + "/s"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder->path() + "/s"));
}

TEST(ProcessGang, BytesSentAreThoseOfTheFormula) {
  const std::vector<int> threads = {2, 1, 1};
  const GangLayout layout(threads);
  for (Reduction reduction : {Reduction::kOrdered, Reduction::kFast}) {
    ProcessGang::Options options = Within(absl::Seconds(60));
    options.reduction = reduction;
    JoinedGang gang(threads, options);
    std::vector<int64_t> expected(3, 0);
    const auto count = [&](Operation operation, int64_t shards, int64_t length,
                           int first = 0) {
      for (int p = 0; p < 3; ++p) {
        expected[p] +=
            ExchangePlan(layout, reduction, operation, shards, length, first)
                .PayloadBytesSent(p);
      }
    };
    for (int64_t shards : {1, 3, 10}) {
      for (int64_t length : {0, 5, 100'000}) {
        // From 2 on the first process has no rows.
        for (int first = 0; first < 3; ++first) {
          count(Operation::kSumShards, shards, length, first);
          count(Operation::kGatherShards, shards, length, first);
        }
        count(Operation::kBroadcast, 1, length);
        count(Operation::kBarrier, 0, 0);
        for (const absl::Status& status :
             OnEveryRank(gang.ranks, [&](Collective* c) {
               absl::Status status;
               for (int first = 0; first < 3; ++first) {
                 status.Update(SumOnes(c, shards, length, nullptr, first));
                 std::vector<float> rows(shards * length);
                 status.Update(
                     c->GatherShards(absl::MakeSpan(rows), shards, first));
               }
               std::string bytes(length, 'b');
               status.Update(c->Broadcast(absl::MakeSpan(bytes)));
               status.Update(c->Barrier());
               return status;
             })) {
          ASSERT_TRUE(status.ok()) << status;
        }
      }
    }
    for (int p = 0; p < 3; ++p) {
      EXPECT_EQ(gang.listening.processes[p]->payload_bytes_sent(), expected[p]);
      EXPECT_GT(expected[p], 0);
    }
  }
}

// Partial sums of processes, added in their order.
TEST(ProcessGang, FastAddsOwnShardsFirst) {
  ProcessGang::Options options = Within(absl::Seconds(60));
  options.reduction = Reduction::kFast;
  JoinedGang gang({1, 1}, options);
  // In shard order ((1e8 + 1) - 1e8) + 1 = 1; rank 0 adds 1e8 - 1e8 first.
  const std::vector<float> rows = {1e8f, 1.0f, -1e8f, 1.0f};
  std::vector<float> sums(2);
  for (const absl::Status& status : OnEveryRank(gang.ranks, [&](Collective* c) {
         return c->SumShards(rows, 4, absl::MakeSpan(&sums[c->rank()], 1));
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_EQ(sums[0], 2.0f);
  EXPECT_EQ(sums[1], 2.0f);
}

TEST(ProcessGang, PeerThatNeverCallsIsADeadlineThatNamesIt) {
  JoinedGang gang({1, 1, 1}, Within(absl::Milliseconds(300)));
  const auto statuses = OnEveryRank(gang.ranks, [](Collective* c) {
    absl::Status status = SumOnes(c);
    if (!status.ok() || c->rank() == 1) return status;
    return SumOnes(c);
  });
  EXPECT_TRUE(statuses[1].ok());
  for (int r : {0, 2}) {
    ExpectFailure(statuses[r], absl::StatusCode::kDeadlineExceeded,
                  "rank 1 did not come to SumShards #1 within");
  }
  // It hears why when it comes.
  ExpectFailure(SumOnes(gang.ranks[1].get()),
                absl::StatusCode::kDeadlineExceeded, "rank 1 did not come");
}

TEST(ProcessGang, ThreadThatNeverCallsIsNamedInOtherProcesses) {
  JoinedGang gang({2, 1}, Within(absl::Milliseconds(300)));
  const auto statuses = OnEveryRank(gang.ranks, [](Collective* c) {
    return c->rank() == 1 ? absl::OkStatus() : SumOnes(c);
  });
  for (int r : {0, 2}) {
    ExpectFailure(statuses[r], absl::StatusCode::kDeadlineExceeded,
                  "did not come to SumShards #0");
    EXPECT_THAT(std::string(statuses[r].message()), HasSubstr("1 did not"));
  }
}

TEST(ProcessGang, ConnectionThatEndsIsNamedAtEveryRank) {
  JoinedGang gang({1, 1, 1}, Within(absl::Seconds(60)));
  std::vector<absl::Status> statuses(2);
  std::thread zero([&] { statuses[0] = SumOnes(gang.ranks[0].get()); });
  std::thread one([&] { statuses[1] = SumOnes(gang.ranks[1].get()); });
  gang.ranks[2].reset();
  zero.join();
  one.join();
  for (const absl::Status& status : statuses) {
    ExpectFailure(status, absl::StatusCode::kUnavailable, "rank 2 is gone");
  }
}

// A process that joins by hand and dies without a word, as one that is killed.
TEST(ProcessGang, ProcessThatIsKilledIsNamedAtOnce) {
  ListeningGang listening({1, 1});
  listening.processes[1].reset();
  auto network = *GangNetwork::Listen(listening.members[1].endpoint);
  std::thread dying([&] {
    const GangJoin join = {.process = 1,
                           .endpoints = {listening.members[0].endpoint, ""},
                           .threads = {1, 1},
                           .secret = TestGangSecret(),
                           .timeout = absl::Seconds(30)};
    PeerLink* zero = nullptr;
    const absl::Status joined =
        JoinGang(join, network.get(),
                 std::chrono::steady_clock::now() + std::chrono::seconds(30),
                 [&](int, PeerLink* link) { zero = link; });
    ASSERT_TRUE(joined.ok()) << joined;
    ProcessExchange exchange(GangLayout({1, 1}), {.process = 1},
                             &network->events(), {zero, nullptr});
    const absl::Status met = exchange.Run(
        {CollectiveCall{}}, ProcessExchange::kJoinCall, absl::Seconds(30));
    ASSERT_TRUE(met.ok()) << met;
  });
  auto ranks = listening.processes[0]->Join(
      0, listening.members, TestGangSecret(), Within(absl::Seconds(60)));
  dying.join();
  ASSERT_TRUE(ranks.ok()) << ranks.status();
  std::thread calling([&] {
    const absl::Status status = SumOnes((*ranks)[0].get());
    ExpectFailure(status, absl::StatusCode::kUnavailable,
                  "rank 1 is gone: the connection ended");
  });
  network.reset();
  calling.join();
}

TEST(ProcessGang, RankThatIsDoneMayGoWhileOthersStillReceive) {
  for (int round = 0; round < 20; ++round) {
    JoinedGang gang({1, 2}, Within(absl::Seconds(60)));
    std::atomic<int> failed = 0;
    std::vector<std::thread> threads;
    for (auto& rank : gang.ranks) {
      threads.emplace_back([&failed, mine = std::move(rank)]() mutable {
        if (!SumOnes(mine.get(), 3, 100'000).ok()) ++failed;
        mine.reset();
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(failed, 0);
  }
}

TEST(ProcessGang, AbortReachesAllWithCodeMessageAndClass) {
  JoinedGang gang({1, 1, 1}, Within(absl::Seconds(60)));
  const auto statuses = OnEveryRank(gang.ranks, [](Collective* c) {
    if (c->rank() == 2) {
      c->Abort(WithFailureClass(absl::OutOfRangeError("loss is NaN in step 3"),
                                FailureClass::kNumeric));
    }
    return SumOnes(c);
  });
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
    EXPECT_EQ(status.message(), "loss is NaN in step 3");
    EXPECT_EQ(FailureClassOf(status), FailureClass::kNumeric);
  }
}

TEST(ProcessGang, RanksThatMakeDifferentCallsAreToldSo) {
  JoinedGang gang({1, 1}, Within(absl::Seconds(60)));
  for (const absl::Status& status : OnEveryRank(gang.ranks, [](Collective* c) {
         return c->rank() == 0 ? SumOnes(c) : c->Barrier();
       })) {
    ExpectFailure(status, absl::StatusCode::kInternal,
                  "rank 0 SumShards of 4 x 40");
    EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 Barrier"));
  }
}

TEST(ProcessGang, OtherSizesAreDifferentCalls) {
  JoinedGang gang({1, 1}, Within(absl::Seconds(60)));
  for (const absl::Status& status : OnEveryRank(gang.ranks, [](Collective* c) {
         return SumOnes(c, 4, 40 + c->rank());
       })) {
    ExpectFailure(status, absl::StatusCode::kInternal,
                  "rank 1 SumShards of 4 x 41");
  }
}

TEST(ProcessGang, AnotherFirstRankIsADifferentCall) {
  JoinedGang gang({1, 1}, Within(absl::Seconds(60)));
  for (const absl::Status& status : OnEveryRank(gang.ranks, [](Collective* c) {
         return SumOnes(c, 4, 40, nullptr, c->rank());
       })) {
    ExpectFailure(status, absl::StatusCode::kInternal,
                  "rank 1 SumShards of 4 x 40 by the ranks from 1 on");
  }
}

TEST(ProcessGang, CorruptPayloadIsFoundAndItsSenderNamed) {
  for (const bool in_sums : {false, true}) {
    std::vector<ProcessGang::Options> options(2, Within(absl::Seconds(60)));
    std::atomic<int> payloads = 0;
    options[1].corrupt = [&](absl::Span<char> payload) {
      // Of a sum with two ranks rank 1 sends rows, then sums.
      if (payloads++ == (in_sums ? 1 : 0)) payload[payload.size() / 2] ^= 4;
    };
    JoinedGang gang({1, 1}, options);
    const auto statuses = OnEveryRank(
        gang.ranks, [](Collective* c) { return SumOnes(c, 2, 1000); });
    ExpectFailure(statuses[0], absl::StatusCode::kDataLoss,
                  "what rank 1 sent in SumShards #0 arrived with another");
    // Rank 1 has all that it needs when only its last words are corrupt.
    if (!in_sums) {
      EXPECT_EQ(statuses[1].message(), statuses[0].message());
    }
    EXPECT_FALSE(SumOnes(gang.ranks[1].get(), 2, 1000).ok());
  }
}

TEST(ProcessGang, WrongSecretIsPermissionDeniedAndNotShown) {
  ListeningGang listening({1, 1});
  ProcessGang::Options options = Within(absl::Seconds(60));
  options.join_timeout = absl::Seconds(2);
  options.fence = 9;
  const std::string wrong(32, 'w');
  const auto joined =
      listening.JoinAll({options, options}, {TestGangSecret(), wrong});
  // The dialler sees at once that the listener is not one of its gang.
  ExpectFailure(joined[1].status(), absl::StatusCode::kPermissionDenied,
                "rank 0 proved another gang secret than that of fence 9");
  EXPECT_FALSE(joined[0].ok());
  EXPECT_THAT(std::string(joined[0].status().message()), HasSubstr("rank 1"));
  for (const auto& each : joined) {
    EXPECT_THAT(std::string(each.status().message()),
                AllOf(Not(HasSubstr("wwww")), Not(HasSubstr("ssss"))));
  }
}

TEST(ProcessGang, ProcessOfAnOlderAttemptIsRefusedAndWaitedForAgain) {
  ListeningGang listening({1, 1});
  ProcessGang::Options options = Within(absl::Seconds(60));
  options.fence = 2;
  ListeningGang::Joined zero;
  std::thread joining([&] {
    zero = listening.processes[0]->Join(0, listening.members, TestGangSecret(),
                                        options);
  });
  auto stale = *ProcessGang::Listen(
      absl::StrCat("unix:", listening.folder->path(), "/stale"));
  ProcessGang::Options old = options;
  old.fence = 1;
  ExpectFailure(
      stale->Join(1, listening.members, TestGangSecret(), old).status(),
      absl::StatusCode::kFailedPrecondition, "rank 1 is of fence 1");
  const auto one = listening.processes[1]->Join(1, listening.members,
                                                TestGangSecret(), options);
  joining.join();
  EXPECT_TRUE(one.ok()) << one.status();
  EXPECT_TRUE(zero.ok()) << zero.status();
}

TEST(ProcessGang, StrangerWithAWrongProofDoesNotEndTheGang) {
  ListeningGang listening({1, 1, 1});
  ProcessGang::Options options = Within(absl::Seconds(60));
  std::vector<ListeningGang::Joined> joined(3);
  std::thread zero([&] {
    joined[0] = listening.processes[0]->Join(0, listening.members,
                                             TestGangSecret(), options);
  });
  auto stranger = *ProcessGang::Listen(
      absl::StrCat("unix:", listening.folder->path(), "/stranger"));
  EXPECT_EQ(stranger->Join(1, listening.members, std::string(32, 'w'), options)
                .status()
                .code(),
            absl::StatusCode::kPermissionDenied);
  std::thread one([&] {
    joined[1] = listening.processes[1]->Join(1, listening.members,
                                             TestGangSecret(), options);
  });
  joined[2] = listening.processes[2]->Join(2, listening.members,
                                           TestGangSecret(), options);
  zero.join();
  one.join();
  for (const auto& each : joined) EXPECT_TRUE(each.ok()) << each.status();
}

TEST(ProcessGang, ProcessThatNeverJoinsIsNamed) {
  ListeningGang listening({1, 2, 1});
  ProcessGang::Options options = Within(absl::Seconds(60));
  options.join_timeout = absl::Milliseconds(500);
  ListeningGang::Joined two;
  std::thread joining([&] {
    two = listening.processes[2]->Join(2, listening.members, TestGangSecret(),
                                       options);
  });
  const auto zero = listening.processes[0]->Join(0, listening.members,
                                                 TestGangSecret(), options);
  joining.join();
  for (const absl::Status& status : {zero.status(), two.status()}) {
    ExpectFailure(status, absl::StatusCode::kDeadlineExceeded,
                  "rank 1, 2 did not come to Join within 500ms");
  }
}

TEST(ProcessGang, ListenerThatIsGoneEndsTheJoin) {
  ListeningGang listening({1, 1});
  ProcessGang::Options options = Within(absl::Seconds(60));
  options.join_timeout = absl::Seconds(1);
  listening.processes[0].reset();
  ExpectFailure(listening.processes[1]
                    ->Join(1, listening.members, TestGangSecret(), options)
                    .status(),
                absl::StatusCode::kDeadlineExceeded, "rank 0");
}

TEST(ProcessGang, DifferentGangsAreRefused) {
  ListeningGang listening({1, 1});
  std::vector<ProcessGang::Options> options(2, Within(absl::Seconds(60)));
  for (auto& each : options) each.join_timeout = absl::Seconds(1);
  options[1].reduction = Reduction::kFast;
  for (const auto& joined :
       listening.JoinAll(options, {TestGangSecret(), TestGangSecret()})) {
    ExpectFailure(joined.status(), absl::StatusCode::kFailedPrecondition,
                  "know different gangs");
  }
}

TEST(ProcessGang, AbortEndsAJoin) {
  ListeningGang listening({1, 1});
  absl::Status status;
  std::thread joining([&] {
    status = listening.processes[0]
                 ->Join(0, listening.members, TestGangSecret(),
                        Within(absl::Seconds(60)))
                 .status();
  });
  listening.processes[0]->Abort(absl::CancelledError("task was cancelled"));
  joining.join();
  ExpectFailure(status, absl::StatusCode::kCancelled, "task was cancelled");
}

// The buffers of a call that failed are the caller's again: a late write into
// them would be a use after free (seen by ASan and TSan).
TEST(ProcessGang, BuffersAreFreeOnceAnAbortedCallReturned) {
  for (int round = 0; round < 10; ++round) {
    JoinedGang gang({1, 2}, Within(absl::Seconds(60)));
    std::vector<std::thread> threads;
    std::atomic<int> calls = 0;
    for (auto& rank : gang.ranks) {
      threads.emplace_back([&] {
        auto rows = std::make_unique<std::vector<float>>(6 * 60'000, 1.0f);
        auto sum = std::make_unique<std::vector<float>>(60'000);
        absl::Status status;
        while (status.ok()) {
          status = rank->SumShards(*rows, 6, absl::MakeSpan(*sum));
          ++calls;
          calls.notify_all();
        }
        std::fill(sum->begin(), sum->end(), 5.0f);
      });
    }
    calls.wait(0);
    gang.ranks[round % 3]->Abort(absl::UnavailableError("stop"));
    for (std::thread& thread : threads) thread.join();
  }
}

// FaultyCollective around rank 1 of two processes.
class FaultyProcessGang {
 public:
  FaultyProcessGang(absl::Duration deadline, CollectiveFault fault)
      : gang_({1, 2}, Within(deadline)),
        faulty_(gang_.ranks[1].get(), std::move(fault)) {}

  std::vector<absl::Status> Run(
      const std::function<absl::Status(Collective*)>& body) {
    std::vector<absl::Status> statuses(3);
    std::vector<std::thread> threads;
    for (int r = 0; r < 3; ++r) {
      threads.emplace_back([&, r] {
        statuses[r] = body(r == 1 ? &faulty_ : gang_.ranks[r].get());
        if (r != 1 && !statuses[r].ok()) faulty_.Release();
      });
    }
    for (std::thread& thread : threads) thread.join();
    return statuses;
  }

 private:
  JoinedGang gang_;
  FaultyCollective faulty_;
};

TEST(ProcessGangFault, HangIsADeadlineAtEveryRank) {
  FaultyProcessGang gang(absl::Milliseconds(300),
                         {.kind = Kind::kHang, .at_call = 1});
  for (const absl::Status& status : gang.Run([](Collective* c) {
         absl::Status first = SumOnes(c);
         return first.ok() ? SumOnes(c) : first;
       })) {
    ExpectFailure(status, absl::StatusCode::kDeadlineExceeded,
                  "did not come to SumShards #1");
  }
}

TEST(ProcessGangFault, AbortIsHeardByEveryRank) {
  FaultyProcessGang gang(absl::Seconds(60), {.kind = Kind::kAbort});
  for (const absl::Status& status :
       gang.Run([](Collective* c) { return SumOnes(c); })) {
    ExpectFailure(status, absl::StatusCode::kUnavailable, "injected abort");
  }
}

TEST(ProcessGangFault, NanReachesEveryRank) {
  FaultyProcessGang gang(absl::Seconds(60), {.kind = Kind::kNan});
  std::vector<float> first(3);
  for (const absl::Status& status : gang.Run([&](Collective* c) {
         return SumOnes(c, 4, 40, &first[c->rank()]);
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
  for (float value : first) EXPECT_TRUE(value != value);
}

TEST(ProcessGangFault, CorruptionBehindTheLinkIsOnItsRankOnly) {
  FaultyProcessGang gang(absl::Seconds(60), {.kind = Kind::kCorrupt});
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

TEST(ProcessGangFault, SlowRankIsWaitedFor) {
  std::atomic<bool> waited = false;
  FaultyProcessGang gang(absl::Seconds(60),
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
