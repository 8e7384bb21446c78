// dasm-runner: computes one task and ends. Started by dasm-worker.
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/eigenvectors.h"
#include "worker/engine/task/task.h"
#include "worker/runner/agent_channel.h"
#include "worker/runner/device.h"
#include "worker/runner/exit_code.h"
#include "worker/runner/file_task.h"
#include "worker/runner/memory_policy.h"
#include "worker/runner/runner.h"

namespace dasm {
namespace {

// The agent's pid, set by the agent (worker/agent/runner_process.h).
constexpr char kParentPidVariable[] = "DASM_PARENT_PID";

// A killed agent must leave nothing that computes or writes.
void DieWithParent() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const char* expected = getenv(kParentPidVariable);
  pid_t parent = 0;
  // An agent that ended before the line above will never send the signal.
  if (expected != nullptr && absl::SimpleAtoi(expected, &parent) &&
      getppid() != parent) {
    _exit(kExitAgentGone);
  }
}

// Without the destructors of statics: those of tensor libraries are a known
// source of crashes at exit.
[[noreturn]] void Exit(int code) {
  std::fflush(nullptr);
  _exit(code);
}

int ExitCodeOfFinished(const worker::v1::RunnerFinished& finished) {
  FailureClass failure;
  if (!ParseFailureClass(finished.failure_class(), &failure)) return 0;
  return ExitCodeOf(failure);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", ErrorLine(status).c_str());
  return ExitCodeOf(FailureClassOf(status));
}

int PrintDescription() {
  InitEngine();
  // A class without it would fail where somebody whitens: better here.
  if (const auto version = OpenBlasVersion(); !version.ok()) {
    return Fail(version.status());
  }
  std::printf("%s\n", Describe().dump().c_str());
  return 0;
}

// Opens the task's device.
absl::Status CheckNumericsClass(const worker::v1::TaskFile& task) {
  DASM_ASSIGN_OR_RETURN(const std::string own, OpenDevice(task.device()));
  const std::string& promised = task.numerics_class();
  if (promised.empty() || promised == own) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the task is for numerics class ",
                                          promised, ", this runner is of ",
                                          own));
}

int RunTaskOf(const std::string& directory) {
  const absl::StatusOr<worker::v1::TaskFile> task = ReadTaskFile(directory);
  if (!task.ok()) return Fail(task.status());
  const std::unique_ptr<AgentChannel> agent = ConnectToAgent(
      task->agent_address(), task->token(), [] { _exit(kExitAgentGone); });
  InitEngine();
  worker::v1::RunnerMessage message;
  worker::v1::RunnerFinished& finished = *message.mutable_finished();
  if (const absl::Status status = CheckNumericsClass(*task); !status.ok()) {
    finished.set_failure_class(
        std::string(FailureClassName(FailureClassOf(status))));
    finished.set_message(std::string(status.message()));
  } else {
    DeviceMemory at_failure;
    RunOptions options;
    options.at_failure = &at_failure;
    if (task->exchange() == "deferred") options.exchange = Exchange::kDeferred;
    options.trainer_rank = task->trainer_rank();
    const TaskFunctions functions = {
        [options](const TaskParameters& parameters, const TaskFiles& files,
                  std::string_view device, Collective* collective,
                  TaskObserver* observer) {
          return RunTask(parameters, files, device, collective, observer,
                         options);
        },
        RunFileTask, GangOfDevices(),
        PeaksOfDevice(task->device(), &at_failure)};
    RunnerWatchdog watchdog;
    watchdog.end_process = [&](const worker::v1::RunnerFinished& last) {
      worker::v1::RunnerMessage words;
      *words.mutable_finished() = last;
      agent->Send(std::move(words));
      agent->AwaitAcknowledgement();
      Exit(ExitCodeOf(FailureClass::kCollective));
    };
    finished = RunTaskDirectory(directory, *task, functions, agent.get(),
                                SystemClock(), watchdog);
  }
  const int code = ExitCodeOfFinished(finished);
  agent->Send(std::move(message));
  agent->AwaitAcknowledgement();
  return code;
}

int Main(int argc, char** argv) {
  CLI::App app("Computes one task of DASM; started by dasm-worker.");
  bool describe = false;
  std::string directory;
  app.add_flag("--describe", describe,
               "Print numerics class, version and devices as JSON");
  app.add_option("--task", directory, "Absolute path of a task directory");
  app.set_version_flag("--version", std::string("dasm-runner ") + DASM_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  InitLogging("dasm-runner", LogSeverity::INFO);
  if (describe) return PrintDescription();
  if (directory.empty() || directory[0] != '/') {
    return Fail(InvalidField("task", "give the absolute path of a folder"));
  }
  return RunTaskOf(directory);
}

}  // namespace
}  // namespace dasm

int main(int argc, char** argv) {
  dasm::DieWithParent();
  dasm::SetMemoryPolicy();
  dasm::Exit(dasm::Main(argc, argv));
}
