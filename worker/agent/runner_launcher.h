// Starts and ends runner processes. The seam between the agent's logic and
// fork.
#ifndef DASM_WORKER_AGENT_RUNNER_LAUNCHER_H_
#define DASM_WORKER_AGENT_RUNNER_LAUNCHER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

struct RunnerCommand {
  std::vector<std::string> argv;         // argv[0]: path of the executable
  std::vector<std::string> environment;  // "NAME=value", all of it
  // Working directory, in which pid and start time are recorded; empty: the
  // agent's own, and no record.
  std::string directory;
};

struct RunnerExit {
  int code = 0;    // when signal is 0
  int signal = 0;  // that ended it
  // The most that was resident of it; 0: not known.
  int64_t peak_memory_bytes = 0;
};

// Destroying it ends the process (SIGKILL) and waits for the last callback.
class RunnerProcess {
 public:
  virtual ~RunnerProcess() = default;
  // To the whole process group; nothing once it ended. Thread-safe.
  virtual void Signal(int signal) = 0;
};

class RunnerLauncher {
 public:
  // Called from a thread of the process, one at a time; on_exit is the last.
  struct Listener {
    std::function<void(bool is_stderr, std::string line)> on_line;
    std::function<void(RunnerExit exit)> on_exit;
  };

  virtual ~RunnerLauncher() = default;
  // FAILED_PRECONDITION when the executable cannot be started, naming it;
  // RESOURCE_EXHAUSTED when the machine has no process or file left.
  virtual absl::StatusOr<std::unique_ptr<RunnerProcess>> Launch(
      const RunnerCommand& command, Listener listener) = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_RUNNER_LAUNCHER_H_
