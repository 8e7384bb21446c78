#include "server/job/state.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

constexpr JobState kJobStates[] = {JobState::kQueued, JobState::kRunning,
                                   JobState::kSucceeded, JobState::kFailed,
                                   JobState::kCancelled};
constexpr TaskState kTaskStates[] = {
    TaskState::kWaiting,   TaskState::kPending, TaskState::kRunning,
    TaskState::kSucceeded, TaskState::kFailed,  TaskState::kCancelled};
constexpr ActionState kActionStates[] = {
    ActionState::kPending, ActionState::kRunning, ActionState::kSucceeded,
    ActionState::kFailed};

// One row for each state to leave, one column for each state to enter, in the
// order of the enumeration: x = allowed, . = refused.
template <typename State, size_t kStates>
std::vector<std::string> Matrix(const State (&states)[kStates]) {
  std::vector<std::string> rows;
  for (State from : states) {
    std::string row;
    for (State to : states) row += CheckTransition(from, to).ok() ? 'x' : '.';
    rows.push_back(row);
  }
  return rows;
}

TEST(JobState, MovesAreThoseOfThePicture) {
  EXPECT_THAT(Matrix(kJobStates),
              testing::ElementsAre("xx.xx",    // QUEUED: 1, 3, 4
                                   ".xxxx",    // RUNNING: 2, 3, 4
                                   ".....",    // SUCCEEDED
                                   ".....",    // FAILED
                                   "....."));  // CANCELLED
}

TEST(TaskState, MovesAreThoseOfThePicture) {
  EXPECT_THAT(Matrix(kTaskStates),
              testing::ElementsAre("xx.x.x",    // WAITING: 5, 7, 9
                                   "xxxxxx",    // PENDING: 6, 7, 8, 9, 10
                                   ".xxxxx",    // RUNNING: 6', 7, 8, 9
                                   "......",    // SUCCEEDED
                                   "......",    // FAILED
                                   "......"));  // CANCELLED
}

TEST(ActionState, MovesAreThoseOfThePicture) {
  EXPECT_THAT(Matrix(kActionStates),
              testing::ElementsAre("xx..",    // PENDING: a
                                   "xxxx",    // RUNNING: a', b
                                   "x.x.",    // SUCCEEDED: c
                                   "x..x"));  // FAILED: d
}

TEST(JobState, TerminalStatesAreTheThreeEnds) {
  std::vector<std::string> terminal;
  for (JobState state : kJobStates) {
    if (IsTerminal(state)) terminal.emplace_back(Name(state));
  }
  EXPECT_THAT(terminal,
              testing::ElementsAre("SUCCEEDED", "FAILED", "CANCELLED"));
}

TEST(TaskState, TerminalStatesAreTheThreeEnds) {
  std::vector<std::string> terminal;
  for (TaskState state : kTaskStates) {
    if (IsTerminal(state)) terminal.emplace_back(Name(state));
  }
  EXPECT_THAT(terminal,
              testing::ElementsAre("SUCCEEDED", "FAILED", "CANCELLED"));
}

TEST(JobState, RefusalNamesBothStates) {
  const absl::Status status =
      CheckTransition(JobState::kCancelled, JobState::kSucceeded);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "a job cannot go from CANCELLED to SUCCEEDED");
}

}  // namespace
}  // namespace dasm
