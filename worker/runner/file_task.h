// The kinds of task that read a user's files, from a task directory
// (worker/runner/prepare does the reading).
#ifndef DASM_WORKER_RUNNER_FILE_TASK_H_
#define DASM_WORKER_RUNNER_FILE_TASK_H_

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "worker/engine/task/task.h"

namespace dasm {

// prepare_dataset (output "dataset"), import_set (output "set") and
// import_scores (output "ranking"); any other kind is INVALID_ARGUMENT. Errors
// as in prepare_task.h.
absl::StatusOr<TaskOutcome> RunFileTask(const TaskParameters& parameters,
                                        const worker::v1::TaskFile& task,
                                        const TaskFiles& files,
                                        TaskObserver* observer);

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_FILE_TASK_H_
