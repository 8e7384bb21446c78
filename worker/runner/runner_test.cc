#include "worker/runner/runner.h"

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <new>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/fake_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/runner/checkpoint.h"
#include "worker/runner/exit_code.h"
#include "worker/runner/fake_agent_channel.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using worker::v1::RunnerFinished;
using worker::v1::TaskFile;

class RunnerTest : public ::testing::Test {
 protected:
  RunnerTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/runner-XXXXXX");
    directory_ = mkdtemp(folder.data());
    std::filesystem::create_directory(directory_ + "/ckpt");
    task_.set_task("key");
    task_.set_kind("assemble");
    task_.set_parameters_json("{\"factor\":1}");
    task_.set_threads(3);
    task_.set_device("cpu");
  }
  ~RunnerTest() override { std::filesystem::remove_all(directory_); }

  RunnerFinished Run(TaskFunction compute) {
    TaskFunctions functions;
    functions.device_peaks = [] { return DevicePeaks{70, 90}; };
    functions.compute = std::move(compute);
    functions.read_files = [](const TaskParameters&, const TaskFile&,
                              const TaskFiles&, TaskObserver*) {
      return TaskOutcome{"{\"read\":true}", {}};
    };
    return RunTaskDirectory(directory_, task_, functions, &agent_, &clock_);
  }

  std::string directory_;
  TaskFile task_;
  FakeAgentChannel agent_;
  FakeClock clock_;
};

TEST_F(RunnerTest, EveryRankComputesAndOneReports) {
  std::atomic<int> ranks = 0;
  const RunnerFinished finished =
      Run([&](const TaskParameters&, const TaskFiles&, std::string_view,
              Collective* collective,
              TaskObserver* observer) -> absl::StatusOr<TaskOutcome> {
        ++ranks;
        EXPECT_EQ(collective->size(), 3);
        observer->Point("loss", 1, 0.5);
        const absl::Status met = collective->Barrier();
        if (!met.ok()) return met;
        if (collective->rank() == 0) return TaskOutcome{"{}", {{"a", "b"}}};
        return TaskOutcome{"of another rank", {}};
      });
  EXPECT_EQ(ranks, 3);
  EXPECT_EQ(finished.failure_class(), "");
  EXPECT_EQ(finished.summary_json(), "{}");
  EXPECT_EQ(finished.outputs().at("a"), "b");
  EXPECT_GT(finished.peak_memory_bytes(), 0);
  EXPECT_EQ(agent_.sent().size(), 1) << "more than one rank spoke";
}

TEST_F(RunnerTest, TheErrorOfTheRankThatFailedIsTheTasks) {
  const RunnerFinished finished = Run(
      [](const TaskParameters&, const TaskFiles&, std::string_view,
         Collective* collective, TaskObserver*) -> absl::StatusOr<TaskOutcome> {
        if (collective->rank() == 2) {
          return WithFailureClass(absl::InternalError("step 4: not finite"),
                                  FailureClass::kNumeric);
        }
        // Its peers wait for it and must not wait for ever.
        return collective->Barrier();
      });
  EXPECT_EQ(finished.failure_class(), "NUMERIC");
  EXPECT_THAT(finished.message(), HasSubstr("step 4"));
}

TEST_F(RunnerTest, RunningOutOfMemoryIsOomHost) {
  const RunnerFinished finished = Run(
      [](const TaskParameters&, const TaskFiles&, std::string_view,
         Collective* collective, TaskObserver*) -> absl::StatusOr<TaskOutcome> {
        if (collective->rank() == 1) throw std::bad_alloc();
        return collective->Barrier();
      });
  EXPECT_EQ(finished.failure_class(), "OOM_HOST");
  EXPECT_GT(finished.peak_memory_bytes(), 0);
  EXPECT_EQ(finished.peak_device_bytes(), 70);
  EXPECT_EQ(finished.peak_device_reserved_bytes(), 90);
}

TEST_F(RunnerTest, AnUnknownKindIsSpec) {
  task_.set_kind("bake_a_cake");
  EXPECT_EQ(Run(nullptr).failure_class(), "SPEC");
}

TEST_F(RunnerTest, KindsThatReadFilesDoNotComputeInRanks) {
  task_.set_kind("import_set");
  task_.set_parameters_json("{\"factor\":1,\"space\":\"pixel\"}");
  const RunnerFinished finished = Run(nullptr);
  EXPECT_EQ(finished.failure_class(), "") << finished.message();
  EXPECT_EQ(finished.summary_json(), "{\"read\":true}");
}

TEST_F(RunnerTest, GoesOnFromACheckpointWithItsSeconds) {
  task_.set_checkpoint("ckpt/resume.safetensors");
  ASSERT_TRUE(WriteCheckpointFile(directory_ + "/ckpt/resume.safetensors",
                                  {"key", 5, 40}, {})
                  .ok());
  const RunnerFinished finished =
      Run([&](const TaskParameters&, const TaskFiles& files, std::string_view,
              Collective* collective,
              TaskObserver*) -> absl::StatusOr<TaskOutcome> {
        EXPECT_EQ(files.checkpoint, directory_ + "/ckpt/resume.safetensors");
        if (collective->rank() == 0) clock_.Advance(absl::Seconds(2));
        return TaskOutcome{"{}", {}};
      });
  EXPECT_DOUBLE_EQ(finished.seconds(), 42);
}

TEST_F(RunnerTest, TheLastCheckpointIsToldBeforeTheEnd) {
  const RunnerFinished finished = Run(
      [](const TaskParameters&, const TaskFiles&, std::string_view, Collective*,
         TaskObserver* observer) -> absl::StatusOr<TaskOutcome> {
        const absl::Status written = observer->WriteCheckpoint(7, {});
        if (!written.ok()) return written;
        return WithFailureClass(absl::CancelledError("stopped"),
                                FailureClass::kPreempted);
      });
  EXPECT_EQ(finished.failure_class(), "PREEMPTED");
  ASSERT_EQ(agent_.sent().size(), 1u);
  EXPECT_EQ(agent_.sent()[0].checkpoint().step(), 7);
}

TEST_F(RunnerTest, APreemptionWithoutItsCheckpointIsAStorageFailure) {
  std::filesystem::remove_all(directory_ + "/ckpt");
  const RunnerFinished finished = Run(
      [](const TaskParameters&, const TaskFiles&, std::string_view, Collective*,
         TaskObserver* observer) -> absl::StatusOr<TaskOutcome> {
        const absl::Status written = observer->WriteCheckpoint(7, {});
        if (!written.ok()) return written;
        return WithFailureClass(absl::CancelledError("stopped"),
                                FailureClass::kPreempted);
      });
  EXPECT_EQ(finished.failure_class(), "STORAGE");
}

TEST_F(RunnerTest, ACheckpointOfAnotherActionIsNotUsed) {
  task_.set_checkpoint("ckpt/resume.safetensors");
  ASSERT_TRUE(WriteCheckpointFile(directory_ + "/ckpt/resume.safetensors",
                                  {"other", 5, 40}, {})
                  .ok());
  const RunnerFinished finished = Run(nullptr);
  EXPECT_EQ(finished.failure_class(), "STORAGE");
  EXPECT_THAT(finished.message(), HasSubstr("other"));
}

TEST_F(RunnerTest, ReadsItsTaskFileAndRefusesAnother) {
  std::ofstream(directory_ + "/task.json") << R"({"task":"k","fence":"7"})";
  const auto task = ReadTaskFile(directory_);
  ASSERT_TRUE(task.ok()) << task.status();
  EXPECT_EQ(task->fence(), 7);
  std::ofstream(directory_ + "/task.json") << R"({"flavour":1})";
  EXPECT_TRUE(absl::IsInvalidArgument(ReadTaskFile(directory_).status()));
}

TEST(RunnerExitCode, EveryClassHasACodeBelow128AndBack) {
  for (int i = 0; i <= static_cast<int>(FailureClass::kInternal); ++i) {
    const auto failure = static_cast<FailureClass>(i);
    EXPECT_LT(ExitCodeOf(failure), 128);
    EXPECT_EQ(FailureOfExitCode(ExitCodeOf(failure)), failure);
  }
  EXPECT_FALSE(FailureOfExitCode(0).has_value());
  EXPECT_FALSE(FailureOfExitCode(kExitAgentGone).has_value());
  EXPECT_FALSE(FailureOfExitCode(137).has_value());
}

}  // namespace
}  // namespace dasm
