#include "server/job/state.h"

#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

template <typename State>
using Move = std::pair<State, State>;

constexpr std::array kJobMoves = {
    Move<JobState>{JobState::kQueued, JobState::kRunning},     // 1
    Move<JobState>{JobState::kRunning, JobState::kSucceeded},  // 2
    Move<JobState>{JobState::kRunning, JobState::kFailed},     // 3
    Move<JobState>{JobState::kQueued, JobState::kFailed},      // 3
    Move<JobState>{JobState::kQueued, JobState::kCancelled},   // 4
    Move<JobState>{JobState::kRunning, JobState::kCancelled},  // 4
};

constexpr std::array kTaskMoves = {
    Move<TaskState>{TaskState::kWaiting, TaskState::kPending},    // 5
    Move<TaskState>{TaskState::kPending, TaskState::kRunning},    // 6
    Move<TaskState>{TaskState::kRunning, TaskState::kPending},    // 6'
    Move<TaskState>{TaskState::kRunning, TaskState::kSucceeded},  // 7
    Move<TaskState>{TaskState::kWaiting, TaskState::kSucceeded},  // 7
    Move<TaskState>{TaskState::kPending, TaskState::kSucceeded},  // 7
    Move<TaskState>{TaskState::kPending, TaskState::kFailed},     // 8
    Move<TaskState>{TaskState::kRunning, TaskState::kFailed},     // 8
    Move<TaskState>{TaskState::kWaiting, TaskState::kCancelled},  // 9
    Move<TaskState>{TaskState::kPending, TaskState::kCancelled},  // 9
    Move<TaskState>{TaskState::kRunning, TaskState::kCancelled},  // 9
    Move<TaskState>{TaskState::kPending, TaskState::kWaiting},    // 10
};

constexpr std::array kActionMoves = {
    Move<ActionState>{ActionState::kPending, ActionState::kRunning},    // a
    Move<ActionState>{ActionState::kRunning, ActionState::kPending},    // a'
    Move<ActionState>{ActionState::kRunning, ActionState::kSucceeded},  // b
    Move<ActionState>{ActionState::kRunning, ActionState::kFailed},     // b
    Move<ActionState>{ActionState::kSucceeded, ActionState::kPending},  // c
    Move<ActionState>{ActionState::kFailed, ActionState::kPending},     // d
};

// Terminal is what no move leaves.
template <typename State, size_t kMoves>
constexpr bool HasExit(const std::array<Move<State>, kMoves>& moves,
                       State state) {
  for (const Move<State>& move : moves) {
    if (move.first == state) return true;
  }
  return false;
}

template <typename State, size_t kMoves>
absl::Status Check(const std::array<Move<State>, kMoves>& moves, State from,
                   State to, const char* what) {
  if (from == to && HasExit(moves, from)) return absl::OkStatus();
  for (const Move<State>& move : moves) {
    if (move == Move<State>{from, to}) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("a ", what, " cannot go from ", std::string(Name(from)),
                   " to ", std::string(Name(to))));
}

}  // namespace

std::string_view Name(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

std::string_view Name(TaskState state) {
  switch (state) {
    case TaskState::kWaiting:
      return "WAITING";
    case TaskState::kPending:
      return "PENDING";
    case TaskState::kRunning:
      return "RUNNING";
    case TaskState::kSucceeded:
      return "SUCCEEDED";
    case TaskState::kFailed:
      return "FAILED";
    case TaskState::kCancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

std::string_view Name(ActionState state) {
  switch (state) {
    case ActionState::kPending:
      return "PENDING";
    case ActionState::kRunning:
      return "RUNNING";
    case ActionState::kSucceeded:
      return "SUCCEEDED";
    case ActionState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

bool IsTerminal(JobState state) { return !HasExit(kJobMoves, state); }
bool IsTerminal(TaskState state) { return !HasExit(kTaskMoves, state); }
bool IsActive(TaskState state) {
  return state == TaskState::kPending || state == TaskState::kRunning;
}

absl::Status CheckTransition(JobState from, JobState to) {
  return Check(kJobMoves, from, to, "job");
}
absl::Status CheckTransition(TaskState from, TaskState to) {
  return Check(kTaskMoves, from, to, "task");
}
absl::Status CheckTransition(ActionState from, ActionState to) {
  return Check(kActionMoves, from, to, "action");
}

}  // namespace dasm
