#include "server/manager/gang_table.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

GangMember Member(int rank, const std::string& endpoint = "",
                  const std::string& device = "") {
  return {.rank = rank,
          .endpoint =
              endpoint.empty() ? absl::StrCat("host:", 7000 + rank) : endpoint,
          .device = device};
}

class GangTableTest : public ::testing::Test {
 protected:
  using Answer = std::optional<absl::StatusOr<GangRoster>>;

  absl::Status Join(GangMember member, Answer* answer, uint64_t fence = 1,
                    int ranks = 2) {
    GangTable::Done done = [answer](absl::StatusOr<GangRoster> roster) {
      EXPECT_FALSE(answer->has_value()) << "answered twice";
      *answer = std::move(roster);
    };
    GangTable::Answers answers;
    const absl::Status status =
        table_.Join("key", fence, ranks, std::move(member), &done, &answers);
    Make(&answers);
    return status;
  }
  static void Make(GangTable::Answers* answers) {
    for (auto& answer : *answers) std::move(answer)();
    answers->clear();
  }
  void Expire() {
    GangTable::Answers answers;
    table_.Expire(&answers);
    Make(&answers);
  }
  void PruneBelow(uint64_t newest) {
    GangTable::Answers answers;
    table_.Prune(
        [&](const std::string&, uint64_t fence) { return fence == newest; },
        &answers);
    Make(&answers);
  }

  FakeClock clock_;
  GangTable table_{&clock_};
};

TEST_F(GangTableTest, TheLastRankBringsEverybodyTheListAndTheSecret) {
  Answer first, last;
  ASSERT_TRUE(Join(Member(1), &first).ok());
  EXPECT_FALSE(first.has_value());
  EXPECT_THAT(table_.Endpoints("key", 1), ElementsAre("", "host:7001"));
  ASSERT_TRUE(Join(Member(0), &last).ok());
  ASSERT_TRUE(first.has_value() && last.has_value());
  for (const Answer* answer : {&first, &last}) {
    const GangRoster& roster = ***answer;
    EXPECT_TRUE(roster.complete);
    EXPECT_THAT(roster.secret, SizeIs(32));
    ASSERT_THAT(roster.members, SizeIs(2));
    EXPECT_EQ(roster.members[0].endpoint, "host:7000");
    EXPECT_EQ(roster.members[1].endpoint, "host:7001");
  }
  EXPECT_EQ((*first)->secret, (*last)->secret);
}

TEST_F(GangTableTest, ACompleteGangAnswersTheSameCallAgainAtOnce) {
  Answer first, last, again;
  ASSERT_TRUE(Join(Member(0), &first).ok());
  ASSERT_TRUE(Join(Member(1), &last).ok());
  ASSERT_TRUE(Join(Member(0), &again).ok());
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ((*again)->secret, (*first)->secret);
}

TEST_F(GangTableTest, EveryAttemptHasASecretOfItsOwn) {
  Answer one, two;
  ASSERT_TRUE(Join(Member(0), &one, 1, 1).ok());
  ASSERT_TRUE(Join(Member(0), &two, 2, 1).ok());
  EXPECT_NE((*one)->secret, (*two)->secret);
}

TEST_F(GangTableTest, AnIncompleteGangIsAnsweredWhenTheHoldIsOver) {
  Answer answer;
  ASSERT_TRUE(Join(Member(0), &answer).ok());
  clock_.Advance(GangTable::kHold - absl::Milliseconds(1));
  Expire();
  EXPECT_FALSE(answer.has_value());
  clock_.Advance(absl::Milliseconds(1));
  Expire();
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE((*answer)->complete);
  EXPECT_THAT((*answer)->secret, IsEmpty());
  // It is still a member: only the other rank is missing.
  Answer other;
  ASSERT_TRUE(Join(Member(1), &other).ok());
  EXPECT_TRUE((*other)->complete);
}

TEST_F(GangTableTest, AnotherCallOfARankEndsItsOlderOne) {
  Answer older, newer, other;
  ASSERT_TRUE(Join(Member(0, "host:1"), &older).ok());
  ASSERT_TRUE(Join(Member(0, "host:2"), &newer).ok());
  ASSERT_TRUE(older.has_value());
  EXPECT_FALSE((*older)->complete);
  ASSERT_TRUE(Join(Member(1), &other).ok());
  EXPECT_EQ((*other)->members[0].endpoint, "host:2");
  EXPECT_TRUE((*newer)->complete);
}

TEST_F(GangTableTest, ARankThatMovesAfterTheGangMetEndsTheAttempt) {
  Answer first, last, moved;
  ASSERT_TRUE(Join(Member(0), &first).ok());
  ASSERT_TRUE(Join(Member(1), &last).ok());
  const absl::Status status = Join(Member(1, "host:9"), &moved);
  EXPECT_TRUE(absl::IsAborted(status)) << status;
  EXPECT_EQ(ReasonOf(status), "GANG_CHANGED");
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1 moved"));
  EXPECT_FALSE(moved.has_value());
}

TEST_F(GangTableTest, TwoRanksOnOneDeviceAreRefusedByName) {
  Answer first, second;
  ASSERT_TRUE(Join(Member(1, "", "m1/cuda:0"), &first).ok());
  const absl::Status status = Join(Member(0, "", "m1/cuda:0"), &second);
  EXPECT_EQ(ReasonOf(status), "TWO_RANKS_ON_ONE_DEVICE");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("ranks 0 and 1 of the gang are two ranks on one device "
                        "(m1/cuda:0)"));
  // Two CPUs, and devices of two machines, are no such thing.
  Answer a, b;
  ASSERT_TRUE(Join(Member(0, "", ""), &a, 2).ok());
  EXPECT_TRUE(Join(Member(1, "", ""), &b, 2).ok());
  Answer c, d;
  ASSERT_TRUE(Join(Member(0, "", "m1/cuda:0"), &c, 3).ok());
  EXPECT_TRUE(Join(Member(1, "", "m2/cuda:0"), &d, 3).ok());
}

TEST_F(GangTableTest, AnAttemptThatEndedIsForgottenAndItsCallsToldSo) {
  Answer held;
  ASSERT_TRUE(Join(Member(0), &held, 1).ok());
  Answer current;
  ASSERT_TRUE(Join(Member(0), &current, 2).ok());
  PruneBelow(2);
  ASSERT_TRUE(held.has_value());
  EXPECT_EQ(ReasonOf(held->status()), "STALE_FENCE");
  EXPECT_FALSE(current.has_value());
  EXPECT_EQ(table_.size(), 1u);
  EXPECT_THAT(table_.Endpoints("key", 1), IsEmpty());
  GangTable::Answers answers;
  table_.Refuse(absl::UnavailableError("stopping"), &answers);
  Make(&answers);
  ASSERT_TRUE(current.has_value());
  EXPECT_TRUE(absl::IsUnavailable(current->status()));
}

TEST(GangMember, EndpointMustBeSomewhereToConnectTo) {
  for (const char* good : {"host:1", "10.0.0.7:65535", "[fe80::1]:70",
                           "unix:/run/dasm/a.sock", "a-b.example:80"}) {
    EXPECT_TRUE(CheckGangMember(Member(0, good)).ok()) << good;
  }
  for (const std::string bad :
       {"host", "host:", ":80", "host:0", "host:65536", "host:+x", "fe80::1:70",
        "unix:", "unix:relative", "ho st:80", "host:80\n", "[]:80"}) {
    const absl::Status status = CheckGangMember({.rank = 0, .endpoint = bad});
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad;
    EXPECT_EQ(FieldOf(status), "member.endpoint") << bad;
  }
  EXPECT_FALSE(
      CheckGangMember(Member(0, absl::StrCat("unix:/", std::string(107, 'x'))))
          .ok());
  GangMember threads = Member(0);
  threads.threads = 0;
  EXPECT_EQ(FieldOf(CheckGangMember(threads)), "member.threads");
}

}  // namespace
}  // namespace dasm
