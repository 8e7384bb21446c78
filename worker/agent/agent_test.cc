#include "worker/agent/agent.h"

#include <signal.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/agent/agent_fixture.h"
#include "worker/runner/exit_code.h"

namespace dasm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using worker::v1::AgentMessage;
using worker::v1::Assignment;
using worker::v1::RunnerMessage;
using worker::v1::SynchronizeResponse;
using worker::v1::TaskFile;

TEST_F(AgentTest, RunsWhatIsAssignedAndCommitsItsResult) {
  const std::string dataset = coordinator_.AddBlob("dataset");
  Assignment assignment = MakeAssignment(3);
  auto* input = assignment.add_inputs();
  input->set_input("dataset");
  input->set_digest(dataset);
  input->set_size_bytes(7);
  assignment.set_checkpoint_steps(50);
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  EXPECT_THAT(runner_.commands()[0].argv,
              ElementsAre("runner", "--task", Folder(3)));
  const TaskFile task = ReadTask(3);
  EXPECT_EQ(*LocalFileSystem()->Read(task.inputs().at("dataset")), "dataset");
  EXPECT_EQ(task.fence(), 3);
  EXPECT_EQ(task.checkpoint_steps(), 50);

  FinishWithOutput(3, "images");
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  ASSERT_EQ(coordinator_.results().size(), 1);
  const auto result = coordinator_.results()[0];
  EXPECT_EQ(result.fence(), 3);
  ASSERT_EQ(result.outputs_size(), 1);
  EXPECT_EQ(result.outputs(0).digest(), Sha256("images"));
  EXPECT_TRUE(coordinator_.HasBlob(Sha256("images")));
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(3)));
  // The coordinator's wish still names it: it is not started again.
  EXPECT_EQ(runner_.commands().size(), 1);
  // The output is here for the next task.
  EXPECT_EQ(cache_->bytes(), 13);
}

TEST_F(AgentTest, UploadsBlobsBeforeTheRowThatNamesThem) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  SayCheckpoint(1, 7);
  ASSERT_TRUE(runner_.AwaitSent(
      [](const AgentMessage& sent) { return sent.committed_step() == 7; },
      kLong));
  FinishWithOutput(1, "images");
  ASSERT_TRUE(coordinator_.AwaitLog("result", kLong));
  EXPECT_THAT(coordinator_.log(),
              ElementsAre("upload", "checkpoint 7", "upload", "result"));
}

TEST_F(AgentTest, EndsWhatIsNoLongerAssignedWithoutAReport) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  coordinator_.Want(SynchronizeResponse());
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  EXPECT_THAT(runner_.signals(), ElementsAre(SIGTERM));
  EXPECT_THAT(coordinator_.failures(), IsEmpty());
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(1)));
}

TEST_F(AgentTest, KillsARunnerThatIgnoresSigterm) {
  runner_.set_obeys_sigterm(false);
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  coordinator_.Want(SynchronizeResponse());
  ASSERT_TRUE(runner_.AwaitSignal(SIGTERM, kLong));
  ASSERT_TRUE(AdvanceUntil([this](absl::Duration wait) {
    return runner_.AwaitSignal(SIGKILL, wait);
  }));
  EXPECT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
}

TEST_F(AgentTest, ANewerFenceReplacesTheAttempt) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  coordinator_.Want(Only(MakeAssignment(2)));
  ASSERT_TRUE(runner_.AwaitLaunches(2, kLong));
  EXPECT_THAT(runner_.signals(), ElementsAre(SIGTERM));
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(1)));
  EXPECT_EQ(ReadTask(2).fence(), 2);
}

TEST_F(AgentTest, ComputesOnWhileCutOffAndCommitsAfterwards) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  coordinator_.FailWith(absl::UnavailableError("no route"));
  ASSERT_TRUE(coordinator_.AwaitFailedSynchronize(kLong));
  clock_.Advance(absl::Hours(1));
  FinishWithOutput(1, "images");
  EXPECT_THAT(runner_.signals(), IsEmpty());
  EXPECT_TRUE(LocalFileSystem()->Exists(Folder(1) + "/out/set.safetensors"));
  coordinator_.FailWith(absl::OkStatus());
  ASSERT_TRUE(AdvanceUntil([this](absl::Duration wait) {
    return coordinator_.AwaitLog("result", wait);
  }));
  EXPECT_EQ(coordinator_.results().size(), 1);
}

TEST_F(AgentTest, DropsAResultWhoseFenceIsOld) {
  coordinator_.AnswerResultsWith(
      WithReason(absl::AbortedError("superseded"), "STALE_FENCE"));
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  FinishWithOutput(1, "images");
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  EXPECT_EQ(coordinator_.results().size(), 1);
  EXPECT_THAT(coordinator_.failures(), IsEmpty());
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(1)));
}

TEST_F(AgentTest, DrainCommitsACheckpointThenReportsPreemptedThenEnds) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  agent_->Drain();
  ASSERT_TRUE(runner_.AwaitSent(
      [](const AgentMessage& sent) { return sent.stop(); }, kLong));
  SayCheckpoint(1, 9);
  runner_.Say(Finished("PREEMPTED"));
  ASSERT_TRUE(runner_.AwaitSent(
      [](const AgentMessage& sent) { return sent.acknowledged(); }, kLong));
  runner_.Exit({ExitCodeOf(FailureClass::kPreempted), 0});
  EXPECT_TRUE(Join().ok());
  EXPECT_THAT(coordinator_.log(),
              ElementsAre("upload", "checkpoint 9", "failure PREEMPTED"));
  EXPECT_THAT(runner_.signals(), IsEmpty());
}

TEST_F(AgentTest, ADrainedRunnerThatDoesNotStopIsEnded) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  agent_->Drain();
  ASSERT_TRUE(AdvanceUntil([this](absl::Duration wait) {
    return runner_.AwaitSignal(SIGTERM, wait);
  }));
  EXPECT_TRUE(Join().ok());
  EXPECT_THAT(coordinator_.log(), ElementsAre("failure PREEMPTED"));
}

TEST_F(AgentTest, ReleasesWhatTheCoordinatorWantsBack) {
  coordinator_.Want(Only(MakeAssignment(4)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  SynchronizeResponse release = Only(MakeAssignment(4));
  release.add_release()->set_task(kTask);
  release.mutable_release(0)->set_fence(4);
  coordinator_.Want(release);
  EXPECT_TRUE(runner_.AwaitSent(
      [](const AgentMessage& sent) { return sent.stop(); }, kLong));
}

TEST_F(AgentTest, GoesOnFromTheCommittedCheckpoint) {
  Assignment assignment = MakeAssignment(2);
  assignment.set_checkpoint_digest(coordinator_.AddBlob("state after 5"));
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  const TaskFile task = ReadTask(2);
  ASSERT_EQ(task.checkpoint(), "ckpt/resume.safetensors");
  EXPECT_EQ(*LocalFileSystem()->Read(Folder(2) + "/" + task.checkpoint()),
            "state after 5");
}

TEST_F(AgentTest, UsesALocalCheckpointUnderTheSameFenceOnly) {
  const std::string name = "/ckpt/step-000000000008.safetensors";
  WriteFile(Folder(5) + name, "same fence");
  coordinator_.Want(Only(MakeAssignment(5)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  EXPECT_EQ(ReadTask(5).checkpoint(), name.substr(1));
  coordinator_.Want(Only(MakeAssignment(6)));
  ASSERT_TRUE(runner_.AwaitLaunches(2, kLong));
  EXPECT_EQ(ReadTask(6).checkpoint(), "");
}

TEST_F(AgentTest, RemovesTheFoldersOfAttemptsThatAreNotItsOwn) {
  WriteFile(Folder(1) + "/out/half", "of an earlier agent");
  coordinator_.Want(Only(MakeAssignment(2)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  EXPECT_FALSE(LocalFileSystem()->Exists(Folder(1)));
}

// An assignment of a match: the data set and a hundred experts.
TEST_F(AgentTest, ATaskMayHaveMoreThanAHundredInputs) {
  Assignment assignment = MakeAssignment(1);
  for (int i = 0; i <= 100; ++i) {
    const std::string bytes = absl::StrCat("expert ", i);
    worker::v1::TaskInput* input = assignment.add_inputs();
    input->set_input(i == 0 ? "dataset" : absl::StrCat("expert.", i));
    input->set_digest(coordinator_.AddBlob(bytes));
    input->set_size_bytes(static_cast<int64_t>(bytes.size()));
  }
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  const TaskFile file = ReadTask(1);
  ASSERT_EQ(file.inputs_size(), 101);
  EXPECT_EQ(*LocalFileSystem()->Read(file.inputs().at("expert.57")),
            "expert 57");
}

TEST_F(AgentTest, AMissingOneOfManyInputsFailsTheAttemptByName) {
  Assignment assignment = MakeAssignment(1);
  for (int i = 1; i <= 20; ++i) {
    const std::string bytes = absl::StrCat("expert ", i);
    worker::v1::TaskInput* input = assignment.add_inputs();
    input->set_input(absl::StrCat("expert.", i));
    input->set_digest(i == 13 ? Sha256(bytes) : coordinator_.AddBlob(bytes));
    input->set_size_bytes(static_cast<int64_t>(bytes.size()));
  }
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  ASSERT_EQ(coordinator_.failures().size(), 1);
  EXPECT_EQ(coordinator_.failures()[0].failure().failure_class(), "STORAGE");
  EXPECT_THAT(coordinator_.failures()[0].failure().message(),
              HasSubstr("expert.13"));
}

TEST_F(AgentTest, AResultMayHaveHundredsOfOutputs) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  RunnerMessage message = Finished("");
  for (int i = 1; i <= 200; ++i) {
    const std::string name = absl::StrCat("snapshot.", i);
    WriteFile(absl::StrCat(Folder(1), "/out/", name), name);
    (*message.mutable_finished()->mutable_outputs())[name] = name;
  }
  runner_.Say(message);
  ASSERT_TRUE(runner_.AwaitSent(
      [](const AgentMessage& sent) { return sent.acknowledged(); }, kLong));
  runner_.Exit({});
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  ASSERT_EQ(coordinator_.results().size(), 1);
  EXPECT_EQ(coordinator_.results()[0].outputs_size(), 200);
}

struct Death {
  RunnerExit exit;
  bool out_of_memory;
  const char* failure_class;
};
class AgentDeathTest : public AgentTest,
                       public ::testing::WithParamInterface<Death> {};

TEST_P(AgentDeathTest, ARunnerThatDiesWithoutAWordHasAFailureClass) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  runner_.Print(/*is_stderr=*/true, "its last words");
  if (GetParam().out_of_memory) ++oom_kills_;
  RunnerExit exit = GetParam().exit;
  exit.peak_memory_bytes = 4096;
  runner_.Exit(exit);
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  ASSERT_EQ(coordinator_.failures().size(), 1);
  const auto failure = coordinator_.failures()[0].failure();
  EXPECT_EQ(failure.failure_class(), GetParam().failure_class);
  EXPECT_THAT(failure.message(), HasSubstr("its last words"));
  ASSERT_EQ(coordinator_.telemetry().size(), 1);
  EXPECT_EQ(coordinator_.telemetry()[0].lines(0).text(), "its last words");
  EXPECT_EQ(coordinator_.telemetry()[0].memory().host_bytes(), 4096);
}

INSTANTIATE_TEST_SUITE_P(
    Deaths, AgentDeathTest,
    ::testing::Values(
        Death{{0, SIGKILL}, false, "NODE_LOST"},
        Death{{0, SIGKILL}, true, "OOM_HOST"},
        Death{{0, SIGSEGV}, true, "INTERNAL"},
        Death{{0, SIGABRT}, false, "INTERNAL"},
        Death{{0, 0}, false, "INTERNAL"}, Death{{1, 0}, false, "INTERNAL"},
        Death{{ExitCodeOf(FailureClass::kNumeric), 0}, false, "NUMERIC"}));

TEST_F(AgentTest, TellsWhatARunnerThatFailedSaysOfItsMemory) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  RunnerMessage message = Finished("OOM_DEVICE");
  message.mutable_finished()->set_peak_memory_bytes(700);
  message.mutable_finished()->set_peak_device_bytes(80);
  message.mutable_finished()->set_peak_device_reserved_bytes(90);
  runner_.Say(message);
  RunnerExit exit = {ExitCodeOf(FailureClass::kOomDevice), 0};
  exit.peak_memory_bytes = 4096;
  runner_.Exit(exit);
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  ASSERT_EQ(coordinator_.telemetry().size(), 1);
  const v1::RankMemory memory = coordinator_.telemetry()[0].memory();
  EXPECT_EQ(memory.host_bytes(), 700);
  EXPECT_EQ(memory.device_bytes(), 80);
  EXPECT_EQ(memory.device_reserved_bytes(), 90);
}

TEST_F(AgentTest, CommitsTheLastCheckpointOfARunnerThatFailed) {
  coordinator_.Want(Only(MakeAssignment(1)));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  coordinator_.FailWith(absl::UnavailableError("no route"));
  SayCheckpoint(1, 3);
  runner_.Say(Finished("NUMERIC"));
  runner_.Exit({ExitCodeOf(FailureClass::kNumeric), 0});
  coordinator_.FailWith(absl::OkStatus());
  ASSERT_TRUE(AdvanceUntil([this](absl::Duration wait) {
    return coordinator_.AwaitLog("failure NUMERIC", wait);
  }));
  EXPECT_THAT(coordinator_.log(),
              ElementsAre("upload", "checkpoint 3", "failure NUMERIC"));
}

TEST_F(AgentTest, ResolvesSourceFilesBelowItsDataFolders) {
  Assignment assignment = MakeAssignment(1);
  assignment.add_source_files()->set_role("train_images");
  assignment.mutable_source_files(0)->set_path("images");
  assignment.mutable_source_files(0)->set_digest(Sha256("pixels"));
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  EXPECT_EQ(*LocalFileSystem()->Read(ReadTask(1).source_files(0).path()),
            "pixels");
}

TEST_F(AgentTest, AMissingSourceFileIsDataAndNamed) {
  Assignment assignment = MakeAssignment(1);
  assignment.add_source_files()->set_role("train_images");
  assignment.mutable_source_files(0)->set_path("elsewhere");
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(coordinator_.AwaitLog("failure DATA", kLong));
  EXPECT_THAT(coordinator_.failures()[0].failure().message(),
              HasSubstr("elsewhere"));
  EXPECT_THAT(runner_.commands(), IsEmpty());
}

TEST_F(AgentTest, AMissingInputIsAStorageFailure) {
  Assignment assignment = MakeAssignment(1);
  assignment.add_inputs()->set_input("dataset");
  assignment.mutable_inputs(0)->set_digest(Sha256("nowhere"));
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(coordinator_.AwaitLog("failure STORAGE", kLong));
  EXPECT_THAT(coordinator_.failures()[0].failure().message(),
              HasSubstr("dataset"));
}

TEST_F(AgentTest, LeavesWhenTheProtocolDiffers) {
  coordinator_.FailWith(
      WithReason(absl::FailedPreconditionError("upgrade the worker"),
                 "PROTOCOL_MISMATCH"));
  Start();
  const absl::Status status = Join();
  EXPECT_EQ(ReasonOf(status), "PROTOCOL_MISMATCH");
  EXPECT_THAT(std::string(status.message()), HasSubstr("upgrade the worker"));
}

TEST_F(AgentTest, ShowsTheGaugesOfASegmentOnlyWhileItRuns) {
  Assignment assignment = MakeAssignment(1);
  assignment.set_kind("distill_segment");
  assignment.set_parameters_json("{\"segment\":1}");
  coordinator_.Want(Only(assignment));
  Start();
  ASSERT_TRUE(runner_.AwaitLaunches(1, kLong));
  RunnerMessage message;
  message.mutable_progress()->set_series("matching_loss");
  message.mutable_progress()->set_value(2.5);
  message.mutable_progress()->set_steps_per_second(4);
  runner_.Say(message);
  const std::string labels =
      absl::StrCat("{segment=\"1\",task=\"", kTask, "\"} ");
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("dasm_distill_matching_loss" + labels + "2.5"));
  EXPECT_THAT(metrics_.Text(),
              HasSubstr("dasm_distill_step_seconds" + labels + "0.25"));
  coordinator_.Want(SynchronizeResponse());
  ASSERT_TRUE(coordinator_.AwaitRequest(IsIdle, kLong));
  EXPECT_THAT(metrics_.Text(), Not(HasSubstr(kTask)));
}

}  // namespace
}  // namespace dasm
