#include "worker/runner/runner.h"

#include <sys/resource.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "worker/collective/thread_collective.h"
#include "worker/runner/checkpoint.h"
#include "worker/runner/reporting_observer.h"

namespace dasm {
namespace {

using worker::v1::RunnerFinished;
using worker::v1::TaskFile;

// A call of `run` that does not throw.
absl::StatusOr<TaskOutcome> Guarded(
    const std::function<absl::StatusOr<TaskOutcome>()>& run) {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return WithFailureClass(
        absl::ResourceExhaustedError("the machine has no memory left"),
        FailureClass::kOomHost);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("uncaught: ", error.what()));
  }
}

// A rank that fails ends the others' calls with an error of their own, so the
// first in time is the one to tell.
absl::StatusOr<TaskOutcome> RunGang(
    int ranks, TaskObserver* observer,
    const std::function<absl::StatusOr<TaskOutcome>(Collective*,
                                                    TaskObserver*)>& compute) {
  DASM_ASSIGN_OR_RETURN(
      std::vector<std::unique_ptr<Collective>> gang,
      ThreadGang::Create(ranks, /*timeout=*/absl::ZeroDuration()));
  absl::Mutex mutex;
  absl::Status first_error;
  TaskOutcome outcome;
  const auto run = [&](int rank) {
    SilentObserver silent;
    absl::StatusOr<TaskOutcome> result = Guarded([&] {
      return compute(gang[rank].get(), rank == 0 ? observer : &silent);
    });
    absl::MutexLock lock(&mutex);
    if (!result.ok()) {
      first_error.Update(result.status());
      gang[rank]->Abort(result.status());
    } else if (rank == 0) {
      outcome = *std::move(result);
    }
  };
  std::vector<std::thread> threads;
  for (int rank = 1; rank < ranks; ++rank) threads.emplace_back(run, rank);
  run(0);
  for (std::thread& thread : threads) thread.join();
  if (!first_error.ok()) return first_error;
  return outcome;
}

std::string Absolute(const std::string& directory, const std::string& path) {
  return path[0] == '/' ? path : absl::StrCat(directory, "/", path);
}

bool ReadsSourceFiles(const TaskParameters& parameters) {
  return std::holds_alternative<PrepareDatasetParameters>(parameters) ||
         std::holds_alternative<ImportSetParameters>(parameters);
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
                                AgentChannel* agent, const Clock* clock) {
  ReportingObserver::Options options;
  options.action = task.task();
  options.task_directory = directory;
  options.checkpoint_interval =
      absl::Seconds(task.checkpoint_interval_seconds());
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

  absl::StatusOr<TaskOutcome> outcome = [&]() -> absl::StatusOr<TaskOutcome> {
    DASM_RETURN_IF_ERROR(status);
    DASM_ASSIGN_OR_RETURN(
        const TaskParameters parameters,
        ParseTaskParameters(task.kind(), task.parameters_json()));
    if (ReadsSourceFiles(parameters)) {
      return Guarded([&] {
        return functions.read_files(parameters, task, files, &observer);
      });
    }
    return RunGang(std::max(1, task.threads()), &observer,
                   [&](Collective* collective, TaskObserver* rank_observer) {
                     return functions.compute(parameters, files, task.device(),
                                              collective, rank_observer);
                   });
  }();

  RunnerFinished finished;
  finished.set_seconds(observer.seconds());
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  finished.set_peak_memory_bytes(int64_t{usage.ru_maxrss} << 10);
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

}  // namespace dasm
