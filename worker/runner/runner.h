// Runs the task of one task directory with the ranks of this process and says
// how it ended. Torch-free: what computes is passed in.
#ifndef DASM_WORKER_RUNNER_RUNNER_H_
#define DASM_WORKER_RUNNER_RUNNER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/spec/task_parameters.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "worker/collective/collective.h"
#include "worker/engine/task/task.h"
#include "worker/runner/agent_channel.h"
#include "worker/runner/gang.h"

namespace dasm {

// <directory>/task.json. INVALID_ARGUMENT when it is not one.
absl::StatusOr<worker::v1::TaskFile> ReadTaskFile(const std::string& directory);

// As RunTask (worker/engine/task/task.h).
using TaskFunction = std::function<absl::StatusOr<TaskOutcome>(
    const TaskParameters& parameters, const TaskFiles& files,
    std::string_view device, Collective* collective, TaskObserver* observer)>;

// The kinds that read source files, on one thread.
using FileTaskFunction = std::function<absl::StatusOr<TaskOutcome>(
    const TaskParameters& parameters, const worker::v1::TaskFile& task,
    const TaskFiles& files, TaskObserver* observer)>;

// The highest so far of this process on its device.
struct DevicePeaks {
  int64_t allocated_bytes = 0;
  int64_t reserved_bytes = 0;
};

struct TaskFunctions {
  TaskFunction compute;
  FileTaskFunction read_files;  // prepare_dataset, import_set, import_scores
  DeviceGang devices;           // of the task's device; empty: none
  std::function<DevicePeaks()> device_peaks;  // null: the task has no device
};

// What ends a process whose ranks do not end after an error (rank_threads.h).
struct RunnerWatchdog {
  absl::Duration grace = absl::Seconds(10);
  // Should tell the agent and end the process; called from another thread. May
  // be null.
  std::function<void(const worker::v1::RunnerFinished& finished)> end_process;
};

// Brings the ranks of this process together with those of the other processes
// of the gang, if there are any (gang.h), then one thread a rank, each calling
// `functions.compute` with its Collective. Rank 0 reports and has the outcome;
// of another process only lines and errors are heard. If a rank fails the gang
// is aborted, and the first error is the task's. Never throws: std::bad_alloc
// is OOM_HOST.
worker::v1::RunnerFinished RunTaskDirectory(
    const std::string& directory, const worker::v1::TaskFile& task,
    const TaskFunctions& functions, AgentChannel* agent, const Clock* clock,
    const RunnerWatchdog& watchdog = {});

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_RUNNER_H_
