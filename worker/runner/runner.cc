#include "worker/runner/runner.h"

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "worker/runner/checkpoint.h"
#include "worker/runner/gang.h"
#include "worker/runner/peak_memory.h"
#include "worker/runner/rank_threads.h"
#include "worker/runner/reporting_observer.h"

namespace dasm {
namespace {

using worker::v1::RunnerFinished;
using worker::v1::TaskFile;

std::string Absolute(const std::string& directory, const std::string& path) {
  return path[0] == '/' ? path : absl::StrCat(directory, "/", path);
}

bool ReadsSourceFiles(const TaskParameters& parameters) {
  return std::holds_alternative<PrepareDatasetParameters>(parameters) ||
         std::holds_alternative<ImportSetParameters>(parameters) ||
         std::holds_alternative<ImportScoresParameters>(parameters);
}

RunnerFinished Describe(const absl::StatusOr<TaskOutcome>& outcome,
                        double seconds, const TaskFunctions& functions) {
  RunnerFinished finished;
  finished.set_seconds(seconds);
  finished.set_peak_memory_bytes(PeakHostBytes());
  if (functions.device_peaks != nullptr) {
    const DevicePeaks peaks = functions.device_peaks();
    finished.set_peak_device_bytes(peaks.allocated_bytes);
    finished.set_peak_device_reserved_bytes(peaks.reserved_bytes);
  }
  if (outcome.ok()) {
    finished.set_summary_json(outcome->summary_json);
    finished.mutable_outputs()->insert(outcome->outputs.begin(),
                                       outcome->outputs.end());
  } else {
    finished.set_failure_class(
        std::string(FailureClassName(FailureClassOf(outcome.status()))));
    finished.set_message(std::string(outcome.status().message()));
  }
  return finished;
}

}  // namespace

absl::StatusOr<TaskFile> ReadTaskFile(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/task.json");
  DASM_ASSIGN_OR_RETURN(const std::string json, LocalFileSystem()->Read(path));
  TaskFile task;
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, &task);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", parsed.ToString()));
  }
  return task;
}

RunnerFinished RunTaskDirectory(const std::string& directory,
                                const TaskFile& task,
                                const TaskFunctions& functions,
                                AgentChannel* agent, const Clock* clock,
                                const RunnerWatchdog& watchdog) {
  ReportingObserver::Options options;
  options.action = task.task();
  options.task_directory = directory;
  options.checkpoint_interval =
      absl::Seconds(task.checkpoint_interval_seconds());
  options.checkpoint_steps = task.checkpoint_steps();
  TaskFiles files;
  files.output_dir = absl::StrCat(directory, "/out");
  for (const auto& [name, path] : task.inputs()) {
    files.inputs[name] = Absolute(directory, path);
  }
  const auto go_on = [&]() -> absl::Status {
    if (task.checkpoint().empty()) return absl::OkStatus();
    files.checkpoint = Absolute(directory, task.checkpoint());
    DASM_ASSIGN_OR_RETURN(const CheckpointInfo info,
                          ReadCheckpointInfo(files.checkpoint, task.task()));
    options.seconds_before = info.seconds;
    return absl::OkStatus();
  };
  absl::Status status = go_on();
  if (!status.ok()) status = WithFailureClass(status, FailureClass::kStorage);
  ReportingObserver observer(options, agent, clock);
  const auto describe = [&](const absl::StatusOr<TaskOutcome>& outcome) {
    return Describe(outcome, observer.seconds(), functions);
  };

  absl::StatusOr<TaskOutcome> outcome = [&]() -> absl::StatusOr<TaskOutcome> {
    DASM_RETURN_IF_ERROR(status);
    DASM_ASSIGN_OR_RETURN(
        const TaskParameters parameters,
        ParseTaskParameters(task.kind(), task.parameters_json()));
    if (ReadsSourceFiles(parameters)) {
      if (task.ranks() > 1) {
        return absl::InvalidArgumentError(
            absl::StrCat(task.kind(), " has no ranks"));
      }
      return Guarded([&] {
        return functions.read_files(parameters, task, files, &observer);
      });
    }
    RankWatchdog ranks_watchdog;
    ranks_watchdog.grace = watchdog.grace;
    if (watchdog.end_process != nullptr) {
      ranks_watchdog.on_hang = [&](const absl::Status& cause) {
        watchdog.end_process(describe(cause));
      };
    }
    DASM_ASSIGN_OR_RETURN(
        const Gang gang,
        FormGang(task, agent, functions.devices, ranks_watchdog.on_hang));
    PeerObserver peer(agent);
    SilentObserver silent;
    const auto observer_of = [&](const Collective* rank) -> TaskObserver* {
      if (rank->rank() == 0) return &observer;
      // The lines of a process come from one of its ranks.
      if (rank == gang.ranks[0].get()) return &peer;
      return &silent;
    };
    return RunRanks(
        gang.ranks,
        [&](Collective* rank) -> absl::StatusOr<TaskOutcome> {
          absl::StatusOr<TaskOutcome> outcome = functions.compute(
              parameters, files, task.device(), rank, observer_of(rank));
          // Calls on a device are only queued: the last ones may have failed.
          if (outcome.ok() && gang.of_devices) {
            if (absl::Status last = rank->Barrier(); !last.ok()) return last;
          }
          return outcome;
        },
        ranks_watchdog);
  }();
  if (outcome.ok() && task.rank() > 0) outcome = TaskOutcome();

  const absl::Status saved = observer.Finish();
  if (!saved.ok() && outcome.ok()) {
    observer.Line("WARNING", absl::StrCat("the last checkpoint was not written"
                                          ": ",
                                          saved.message()));
  } else if (!saved.ok() &&
             FailureClassOf(outcome.status()) == FailureClass::kPreempted) {
    // It promises a checkpoint.
    outcome = saved;
  }
  return describe(outcome);
}

}  // namespace dasm
