// Real processes: fork and exec from one thread that lives as long as the
// launcher, since the runner's PR_SET_PDEATHSIG fires when the thread that
// forked it ends. Each runner has a process group of its own.
#ifndef DASM_WORKER_AGENT_RUNNER_PROCESS_H_
#define DASM_WORKER_AGENT_RUNNER_PROCESS_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "worker/agent/runner_launcher.h"

namespace dasm {

// A runner compares its parent with this variable: a parent that ended before
// the runner asked for its death signal would never send one.
inline constexpr char kParentPidVariable[] = "DASM_PARENT_PID";

// Thread-safe. Outlives the processes it started.
class ForkingLauncher final : public RunnerLauncher {
 public:
  ForkingLauncher();
  ~ForkingLauncher() override;

  absl::StatusOr<std::unique_ptr<RunnerProcess>> Launch(
      const RunnerCommand& command, Listener listener) override;

 private:
  void Run();
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return closed_ || !requests_.empty();
  }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> requests_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Ends what a killed agent left: processes recorded in the folders of
// `tasks_directory` that still live (same pid and start time), and waits until
// they are gone. DEADLINE_EXCEEDED naming one that does not end. The folders
// stay.
absl::Status ReapLeftovers(const std::string& tasks_directory,
                           absl::Duration timeout);

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_RUNNER_PROCESS_H_
