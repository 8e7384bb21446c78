// The states of jobs, tasks and actions, and the only moves between them.
//
//   job     QUEUED -1-> RUNNING -2-> SUCCEEDED
//             |           |---3-> FAILED
//             '--4--------'---4-> CANCELLED
//   1  its first task got an action that runs or is done
//   2  every task succeeded and the report is stored
//   3  a task failed for good (from QUEUED too: refused before it ran)
//   4  the user cancelled it
//
//   task    WAITING -5-> PENDING -6-> RUNNING -7-> SUCCEEDED
//   5  every input is known: the task is bound to an action
//   6  an attempt of its action was placed; back (6') when the attempt ended
//      without a result and will be retried
//   7  its action has a result (from WAITING and PENDING too: a cache hit)
//   8  FAILED when its action failed; 9 CANCELLED with its job
//   10 PENDING -> WAITING: its action ran out of memory and the task was
//   planned
//      anew with a smaller micro-batch, so with another action
//
//   action  PENDING -a-> RUNNING -b-> SUCCEEDED | FAILED
//   a  an attempt was placed; back (a') when it ended without a result
//   c  SUCCEEDED -> PENDING: a blob of its result is missing or bad
//   d  FAILED -> PENDING: wanted again by a new job
#ifndef DASM_SERVER_JOB_STATE_H_
#define DASM_SERVER_JOB_STATE_H_

#include <string_view>

#include "absl/status/status.h"

namespace dasm {

enum class JobState { kQueued, kRunning, kSucceeded, kFailed, kCancelled };
enum class TaskState {
  kWaiting,
  kPending,
  kRunning,
  kSucceeded,
  kFailed,
  kCancelled
};
enum class ActionState { kPending, kRunning, kSucceeded, kFailed };

std::string_view Name(JobState state);
std::string_view Name(TaskState state);
std::string_view Name(ActionState state);

bool IsTerminal(JobState state);
bool IsTerminal(TaskState state);
// Bound to an action that has no result yet.
bool IsActive(TaskState state);

// FAILED_PRECONDITION naming both states when the table has no such move. A
// move to the same state is OK unless it is terminal.
absl::Status CheckTransition(JobState from, JobState to);
absl::Status CheckTransition(TaskState from, TaskState to);
absl::Status CheckTransition(ActionState from, ActionState to);

}  // namespace dasm

#endif  // DASM_SERVER_JOB_STATE_H_
