#include "worker/agent/runner_process.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/agent/device_inventory.h"

namespace dasm {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// Ends a test that hangs.
constexpr absl::Duration kLong = absl::Minutes(2);

// What a process said and how it ended.
class Recorder {
 public:
  RunnerLauncher::Listener listener() {
    return {[this](bool is_stderr, std::string line) {
              absl::MutexLock lock(&mutex_);
              lines_.push_back((is_stderr ? "err: " : "out: ") + line);
            },
            [this](RunnerExit exit) {
              absl::MutexLock lock(&mutex_);
              exit_ = exit;
            }};
  }
  bool AwaitLine(const std::string& line) {
    absl::MutexLock lock(&mutex_);
    const auto said = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return std::find(lines_.begin(), lines_.end(), line) != lines_.end();
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&said), kLong);
  }
  std::optional<RunnerExit> AwaitExit() {
    absl::MutexLock lock(&mutex_);
    const auto ended = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return exit_.has_value();
    };
    mutex_.AwaitWithTimeout(absl::Condition(&ended), kLong);
    return exit_;
  }
  std::vector<std::string> lines() {
    absl::MutexLock lock(&mutex_);
    return lines_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  std::optional<RunnerExit> exit_ ABSL_GUARDED_BY(mutex_);
};

class RunnerProcessTest : public ::testing::Test {
 protected:
  RunnerProcessTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/proc-XXXXXX");
    tasks_ = mkdtemp(folder.data());
    directory_ = tasks_ + "/a.1";
    std::filesystem::create_directory(directory_);
  }
  ~RunnerProcessTest() override { std::filesystem::remove_all(tasks_); }

  RunnerCommand Command(const std::string& mode) {
    RunnerCommand command;
    command.argv = {DASM_TESTING_RUNNER, mode};
    command.environment = {"PATH=/usr/bin:/bin"};
    command.directory = directory_;
    return command;
  }
  // Of the recorded process.
  pid_t RecordedPid() {
    std::ifstream file(directory_ + "/runner.pid");
    pid_t pid = 0;
    file >> pid;
    return pid;
  }

  std::string tasks_;
  std::string directory_;
  Recorder recorder_;
  ForkingLauncher launcher_;
};

TEST_F(RunnerProcessTest, CapturesLinesOfBothStreamsAndTheExitCode) {
  const auto process = launcher_.Launch(Command("talk"), recorder_.listener());
  ASSERT_TRUE(process.ok()) << process.status();
  const auto exit = recorder_.AwaitExit();
  ASSERT_TRUE(exit.has_value());
  EXPECT_EQ(exit->code, 7);
  EXPECT_EQ(exit->signal, 0);
  EXPECT_GT(exit->peak_memory_bytes, 0);
  EXPECT_THAT(
      recorder_.lines(),
      UnorderedElementsAre("out: to stdout", "out: bad ? ?( good \u00e9",
                           "out: no newline", "err: to stderr"));
}

TEST_F(RunnerProcessTest, TellsASignalFromAnExit) {
  const auto process = launcher_.Launch(Command("wait"), recorder_.listener());
  ASSERT_TRUE(process.ok()) << process.status();
  ASSERT_TRUE(recorder_.AwaitLine("out: up"));
  (*process)->Signal(SIGTERM);
  const auto exit = recorder_.AwaitExit();
  EXPECT_EQ(exit->signal, SIGTERM);
  EXPECT_GT(exit->peak_memory_bytes, 0);
  // It is reaped: the number may be another's by now.
  (*process)->Signal(SIGKILL);
}

TEST_F(RunnerProcessTest, DestroyingTheHandleEndsTheProcess) {
  {
    const auto process =
        launcher_.Launch(Command("wait"), recorder_.listener());
    ASSERT_TRUE(process.ok()) << process.status();
    ASSERT_TRUE(recorder_.AwaitLine("out: up"));
  }
  EXPECT_EQ(recorder_.AwaitExit()->signal, SIGKILL);
}

TEST_F(RunnerProcessTest, NamesAnExecutableThatCannotStart) {
  RunnerCommand command = Command("talk");
  command.argv[0] = "/nowhere/dasm-runner";
  const auto process = launcher_.Launch(command, recorder_.listener());
  EXPECT_TRUE(absl::IsFailedPrecondition(process.status()));
  EXPECT_THAT(std::string(process.status().message()),
              HasSubstr("/nowhere/dasm-runner"));
}

TEST_F(RunnerProcessTest, ARunnerDiesWithItsAgent) {
  RunnerCommand command = Command("start");
  command.argv.push_back(directory_);
  command.directory.clear();
  auto agent = launcher_.Launch(command, recorder_.listener());
  ASSERT_TRUE(agent.ok()) << agent.status();
  ASSERT_TRUE(recorder_.AwaitLine("out: child up"));
  const pid_t runner = RecordedPid();
  ASSERT_GT(runner, 0);
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, runner, 0));
  ASSERT_GE(fd, 0);
  // The runner has a group of its own, so this reaches the agent alone.
  (*agent)->Signal(SIGKILL);
  pollfd ended = {fd, POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, 20'000), 1) << "the runner outlived its agent";
  close(fd);
}

TEST_F(RunnerProcessTest, ReapsARecordedProcess) {
  const auto process = launcher_.Launch(Command("wait"), recorder_.listener());
  ASSERT_TRUE(process.ok()) << process.status();
  ASSERT_TRUE(recorder_.AwaitLine("out: up"));
  EXPECT_TRUE(ReapLeftovers(tasks_, kLong).ok());
  EXPECT_EQ(recorder_.AwaitExit()->signal, SIGKILL);
}

TEST_F(RunnerProcessTest, SparesAnotherProcessOfTheSameNumber) {
  const auto process = launcher_.Launch(Command("wait"), recorder_.listener());
  ASSERT_TRUE(process.ok()) << process.status();
  ASSERT_TRUE(recorder_.AwaitLine("out: up"));
  std::ofstream(directory_ + "/runner.pid") << RecordedPid() << " 12345\n";
  EXPECT_TRUE(ReapLeftovers(tasks_, kLong).ok());
  (*process)->Signal(SIGTERM);
  EXPECT_EQ(recorder_.AwaitExit()->signal, SIGTERM);
}

TEST_F(RunnerProcessTest, InventoryAsksTheRunnerForItsNumericsClass) {
  InventoryOptions options;
  options.slots = 2;
  options.threads = 3;
  options.runner = DASM_TESTING_RUNNER;
  const auto inventory = TakeInventory(options, &launcher_);
  ASSERT_TRUE(inventory.ok()) << inventory.status();
  EXPECT_EQ(inventory->numerics_class, "cpu-test/fp32");
  EXPECT_EQ(inventory->runner_version, "1.2.3");
  EXPECT_EQ(inventory->slots, 2);
  EXPECT_EQ(inventory->threads, 3);
  EXPECT_GT(inventory->memory_bytes, 0);
}

TEST_F(RunnerProcessTest, InventoryTellsWhyTheRunnerDidNotDescribeItself) {
  InventoryOptions options;
  options.runner = "/bin/false";
  const auto inventory = TakeInventory(options, &launcher_);
  EXPECT_TRUE(absl::IsFailedPrecondition(inventory.status()));
  EXPECT_THAT(std::string(inventory.status().message()),
              HasSubstr("exit code 1"));
}

}  // namespace
}  // namespace dasm
