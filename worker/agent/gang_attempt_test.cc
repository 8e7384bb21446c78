// What an agent does with the ranks of gangs.
#include <signal.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/agent/agent.h"
#include "worker/agent/agent_fixture.h"
#include "worker/runner/exit_code.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using worker::v1::AgentMessage;
using worker::v1::Assignment;
using worker::v1::JoinGangResponse;
using worker::v1::RunnerMessage;
using worker::v1::SynchronizeRequest;
using worker::v1::SynchronizeResponse;
using worker::v1::TaskFile;

constexpr char kSecret[] = "a secret of the gang";

class GangAttemptTest : public AgentTest {
 protected:
  static Assignment Rank(int rank, uint64_t fence = 1) {
    Assignment assignment = MakeAssignment(fence);
    assignment.set_rank(rank);
    assignment.set_ranks(3);
    assignment.set_reduction("ordered");
    assignment.set_exchange("deferred");
    assignment.set_trainer_rank(true);
    return assignment;
  }
  static SynchronizeResponse These(const std::vector<Assignment>& assignments) {
    SynchronizeResponse response;
    for (const Assignment& assignment : assignments) {
      *response.add_assignments() = assignment;
    }
    return response;
  }
  // Starts an agent with the given ranks of attempt 1, whose runners run.
  void StartRanks(const std::vector<int>& ranks) {
    std::vector<Assignment> assignments;
    for (int rank : ranks) assignments.push_back(Rank(rank));
    coordinator_.Want(These(assignments));
    Start(/*slots=*/4);
    ASSERT_TRUE(
        runner_.AwaitLaunches(static_cast<int>(assignments.size()), kLong));
  }
  std::string Token(int rank) const { return ReadTask(1, rank).token(); }
  void SayEndpoint(int rank) {
    RunnerMessage message;
    auto* member = message.mutable_gang_endpoint()->mutable_member();
    member->set_rank(rank);
    member->set_endpoint(absl::StrCat("127.0.0.1:", 7000 + rank));
    member->set_threads(2);
    runner_.SayAs(Token(rank), message);
  }
  void FinishRank(int rank, const std::string& failure_class, int exit_code) {
    const std::string folder = Folder(1, rank);
    const std::string token = Token(rank);
    runner_.SayAs(token, Finished(failure_class));
    EXPECT_TRUE(runner_.AwaitSent(
        [](const AgentMessage& sent) { return sent.acknowledged(); }, kLong,
        token));
    runner_.ExitIn(folder, {exit_code, 0});
  }
  static JoinGangResponse Complete() {
    JoinGangResponse response;
    response.set_complete(true);
    response.set_secret(kSecret);
    for (int rank = 0; rank < 3; ++rank) {
      auto* member = response.add_members();
      member->set_rank(rank);
      member->set_endpoint(absl::StrCat("10.0.0.1:", rank));
    }
    return response;
  }
  bool AwaitGangReady(const std::string& token) {
    return runner_.AwaitSent(
        [](const AgentMessage& sent) {
          return sent.gang().secret() == kSecret &&
                 sent.gang().members_size() == 3;
        },
        kLong, token);
  }
  bool AwaitRunning(size_t count) {
    return coordinator_.AwaitRequest(
        [count](const SynchronizeRequest& request) {
          return request.running_size() == static_cast<int>(count) &&
                 request.applied_generation() > 0;
        },
        kLong);
  }
};

TEST_F(GangAttemptTest, RunsSeveralRanksOfOneGangAndSaysWhich) {
  StartRanks({0, 2});
  ASSERT_TRUE(coordinator_.AwaitRequest(
      [](const SynchronizeRequest& request) {
        return request.running_size() == 2 && request.running(0).rank() == 0 &&
               request.running(1).rank() == 2;
      },
      kLong));
  EXPECT_NE(Folder(1, 0), Folder(1, 2));
  for (int rank : {0, 2}) {
    const TaskFile task = ReadTask(1, rank);
    EXPECT_EQ(task.rank(), rank);
    EXPECT_EQ(task.ranks(), 3);
    EXPECT_EQ(task.gang_listen(), "127.0.0.1:0");
    EXPECT_EQ(task.reduction(), "ordered");
    EXPECT_EQ(task.exchange(), "deferred");
    EXPECT_TRUE(task.trainer_rank());
    EXPECT_EQ(task.collective_deadline_seconds(), 60);
  }
}

TEST_F(GangAttemptTest, ATaskWithoutAGangDoesNotListen) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  EXPECT_EQ(ReadTask(1).ranks(), 1);
  EXPECT_EQ(ReadTask(1).gang_listen(), "");
}

TEST_F(GangAttemptTest, BringsEveryRunnerItsPeersAndTheSecret) {
  StartRanks({0, 1});
  coordinator_.AnswerJoinsWith(Complete());
  SayEndpoint(0);
  SayEndpoint(1);
  EXPECT_TRUE(AwaitGangReady(Token(0)));
  EXPECT_TRUE(AwaitGangReady(Token(1)));
  const auto joins = coordinator_.joins();
  ASSERT_EQ(joins.size(), 2u);
  for (const auto& join : joins) {
    EXPECT_EQ(join.worker(), "w");
    EXPECT_EQ(join.fence(), 1u);
    EXPECT_EQ(join.member().endpoint(),
              absl::StrCat("127.0.0.1:", 7000 + join.member().rank()));
    EXPECT_EQ(join.member().threads(), 2);
  }
  // In memory and on the runner's socket, and nowhere else.
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(directory_)) {
    if (!entry.is_regular_file()) continue;
    const auto bytes = LocalFileSystem()->Read(entry.path().string());
    EXPECT_EQ(bytes.value_or("").find(kSecret), std::string::npos)
        << entry.path();
  }
}

TEST_F(GangAttemptTest, JoinsAgainUntilTheGangIsComplete) {
  StartRanks({1});
  coordinator_.AnswerJoinsWith(absl::UnavailableError("no route"));
  SayEndpoint(1);
  ASSERT_TRUE(AdvanceUntil(
      [&](absl::Duration wait) { return coordinator_.AwaitJoins(2, wait); }));
  coordinator_.AnswerJoinsWith(JoinGangResponse());
  ASSERT_TRUE(AdvanceUntil(
      [&](absl::Duration wait) { return coordinator_.AwaitJoins(3, wait); }));
  coordinator_.AnswerJoinsWith(Complete());
  EXPECT_TRUE(AwaitGangReady(Token(1)));
  EXPECT_THAT(coordinator_.failures(), IsEmpty());
}

TEST_F(GangAttemptTest, AGangThatNeverIsCompleteFailsAndSaysSo) {
  StartRanks({1});
  SayEndpoint(1);
  ASSERT_TRUE(coordinator_.AwaitJoins(1, kLong));
  ASSERT_TRUE(AdvanceUntil([&](absl::Duration wait) {
    coordinator_.AnswerJoinsWith(JoinGangResponse());
    return coordinator_.AwaitLog("failure COLLECTIVE", wait);
  }));
  const auto failure = coordinator_.failures()[0].failure();
  EXPECT_THAT(failure.message(), HasSubstr("rank 1 on w"));
  EXPECT_THAT(failure.message(), HasSubstr("gang of 3 was not complete"));
}

TEST_F(GangAttemptTest, AStaleRankEndsWithoutAReport) {
  StartRanks({1});
  coordinator_.AnswerJoinsWith(
      WithReason(absl::AbortedError("superseded"), "STALE_FENCE"));
  SayEndpoint(1);
  ASSERT_TRUE(AwaitRunning(0));
  EXPECT_THAT(runner_.signals(), ElementsAre(SIGTERM));
  EXPECT_THAT(coordinator_.failures(), IsEmpty());
}

TEST_F(GangAttemptTest, ACoordinatorThatRefusesTheRankFailsIt) {
  StartRanks({1});
  coordinator_.AnswerJoinsWith(
      absl::InvalidArgumentError("rank 1 has another endpoint"));
  SayEndpoint(1);
  ASSERT_TRUE(coordinator_.AwaitLog("failure SPEC", kLong));
  EXPECT_THAT(coordinator_.failures()[0].failure().message(),
              HasSubstr("another endpoint"));
  EXPECT_TRUE(AwaitRunning(0));
}

TEST_F(GangAttemptTest, CanBeCancelledWhileItJoins) {
  StartRanks({1});
  SayEndpoint(1);
  ASSERT_TRUE(coordinator_.AwaitJoins(1, kLong));  // held
  coordinator_.Want(SynchronizeResponse());
  ASSERT_TRUE(AwaitRunning(0));
  EXPECT_THAT(runner_.signals(), ElementsAre(SIGTERM));
  EXPECT_THAT(coordinator_.failures(), IsEmpty());
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(1, 1)));
}

TEST_F(GangAttemptTest, ARunnerThatDiesWhileItJoinsIsReported) {
  StartRanks({1});
  SayEndpoint(1);
  ASSERT_TRUE(coordinator_.AwaitJoins(1, kLong));  // held
  runner_.ExitIn(Folder(1, 1), {0, SIGKILL});
  ASSERT_TRUE(coordinator_.AwaitLog("failure NODE_LOST", kLong));
  EXPECT_THAT(coordinator_.failures()[0].failure().message(),
              HasSubstr("rank 1 on w"));
}

TEST_F(GangAttemptTest, AnotherRankThanZeroEndsQuietly) {
  StartRanks({0, 1});
  FinishRank(1, "", 0);
  ASSERT_TRUE(AwaitRunning(1));
  EXPECT_THAT(coordinator_.results(), IsEmpty());
  EXPECT_THAT(coordinator_.failures(), IsEmpty());
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(1, 1)));
  EXPECT_TRUE(LocalFileSystem()->Exists(Folder(1, 0)));
  // Still assigned, but done: another task's news does not start it again.
  coordinator_.Want(These({Rank(0), Rank(1)}));
  FinishRank(0, "", 0);
  ASSERT_TRUE(coordinator_.AwaitLog("result", kLong));
  ASSERT_TRUE(AwaitRunning(0));
  EXPECT_EQ(runner_.commands().size(), 2u);
}

TEST_F(GangAttemptTest, OnlyRankZeroHasCheckpoints) {
  StartRanks({1});
  RunnerMessage message;
  message.mutable_checkpoint()->set_file("ckpt/step-1.safetensors");
  message.mutable_checkpoint()->set_step(1);
  runner_.SayAs(Token(1), message);
  FinishRank(1, "", 0);
  ASSERT_TRUE(AwaitRunning(0));
  EXPECT_THAT(coordinator_.log(), IsEmpty());
}

TEST_F(GangAttemptTest, OneRankCanBeCancelledOrReleasedWithoutTheOthers) {
  StartRanks({0, 1, 2});
  SynchronizeResponse wish = These({Rank(0), Rank(2)});
  auto* release = wish.add_release();
  release->set_task(kTask);
  release->set_fence(1);
  release->set_rank(2);
  const std::string first = Token(0);
  coordinator_.Want(wish);
  EXPECT_TRUE(runner_.AwaitSent(
      [](const AgentMessage& sent) { return sent.stop(); }, kLong, Token(2)));
  ASSERT_TRUE(AwaitRunning(2));
  EXPECT_THAT(runner_.signals(), ElementsAre(SIGTERM));
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(1, 1)));
  EXPECT_FALSE(
      runner_.AwaitSent([](const AgentMessage& sent) { return sent.stop(); },
                        absl::ZeroDuration(), first));
}

TEST_F(GangAttemptTest, TheRankThatKnowsTheCauseSpeaksFirst) {
  StartRanks({0, 1});
  FinishRank(0, "COLLECTIVE", ExitCodeOf(FailureClass::kCollective));
  FinishRank(1, "OOM_HOST", ExitCodeOf(FailureClass::kOomHost));
  ASSERT_TRUE(coordinator_.AwaitLog("failure OOM_HOST", kLong));
  // The coordinator ends the attempt: what was only felt is not reported.
  coordinator_.Want(SynchronizeResponse());
  ASSERT_TRUE(AwaitRunning(0));
  EXPECT_THAT(coordinator_.log(), ElementsAre("failure OOM_HOST"));
}

TEST_F(GangAttemptTest, AFailureThatNobodyExplainsIsReportedAsCollective) {
  StartRanks({1});
  FinishRank(1, "COLLECTIVE", ExitCodeOf(FailureClass::kCollective));
  ASSERT_TRUE(AdvanceUntil([&](absl::Duration wait) {
    return coordinator_.AwaitLog("failure COLLECTIVE", wait);
  }));
}

TEST_F(GangAttemptTest, RankZerosCheckpointComesBeforeThePreemptionOfAll) {
  StartRanks({0, 1});
  FinishRank(1, "PREEMPTED", ExitCodeOf(FailureClass::kPreempted));
  WriteFile(Folder(1) + "/ckpt/step-9.safetensors", "state");
  RunnerMessage message;
  message.mutable_checkpoint()->set_file("ckpt/step-9.safetensors");
  message.mutable_checkpoint()->set_step(9);
  runner_.SayAs(Token(0), message);
  FinishRank(0, "PREEMPTED", ExitCodeOf(FailureClass::kPreempted));
  ASSERT_TRUE(coordinator_.AwaitLog("failure PREEMPTED", kLong));
  coordinator_.Want(SynchronizeResponse());
  ASSERT_TRUE(AwaitRunning(0));
  EXPECT_THAT(coordinator_.log(),
              ElementsAre("upload", "checkpoint 9", "failure PREEMPTED"));
}

TEST_F(GangAttemptTest, ADrainedAgentLeavesOnceItsRankIsNotWanted) {
  StartRanks({1});
  agent_->Drain();
  ASSERT_TRUE(runner_.AwaitSent(
      [](const AgentMessage& sent) { return sent.stop(); }, kLong));
  FinishRank(1, "PREEMPTED", ExitCodeOf(FailureClass::kPreempted));
  coordinator_.Want(SynchronizeResponse());
  ASSERT_TRUE(AdvanceUntil([&](absl::Duration wait) {
    return coordinator_.AwaitRequest(
        [](const SynchronizeRequest& request) {
          return request.draining() && request.running_size() == 0;
        },
        wait);
  }));
  EXPECT_TRUE(Join().ok());
  EXPECT_THAT(coordinator_.log(), IsEmpty());
}

TEST_F(GangAttemptTest, GoesOnFromTheCommittedCheckpointAlone) {
  WriteFile(Folder(1, 0) + "/ckpt/step-000000000008.safetensors",
            "of an earlier agent");
  Assignment assignment = Rank(0);
  assignment.set_checkpoint_digest(coordinator_.AddBlob("state after 5"));
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  const TaskFile task = ReadTask(1);
  EXPECT_EQ(*LocalFileSystem()->Read(Folder(1) + "/" + task.checkpoint()),
            "state after 5");
}

TEST_F(GangAttemptTest, LinesSayFromWhichRankTheyAre) {
  StartRanks({2});
  runner_.Print(/*is_stderr=*/false, "hello");
  FinishRank(2, "SPEC", ExitCodeOf(FailureClass::kSpec));
  ASSERT_TRUE(coordinator_.AwaitLog("failure SPEC", kLong));
  ASSERT_EQ(coordinator_.telemetry().size(), 1u);
  EXPECT_EQ(coordinator_.telemetry()[0].lines(0).rank(), 2);
}

}  // namespace
}  // namespace dasm
