// docs/architecture.md draws the state machines and names the layers and
// failure classes; this holds the drawing to the code.
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/job/state.h"

namespace dasm {
namespace {

using testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path);
  std::stringstream text;
  text << stream.rdbuf();
  EXPECT_FALSE(text.str().empty()) << path;
  return text.str();
}

std::string Document() {
  return ReadFile(absl::StrCat(DASM_SOURCE_DIR, "/docs/architecture.md"));
}

std::vector<std::string> Lines(const std::string& text) {
  return absl::StrSplit(text, '\n');
}

// "from -> to" lines of a machine, as drawn.
std::set<std::string> Drawn(const std::string& machine) {
  std::set<std::string> moves;
  for (const std::string& line : Lines(Document())) {
    const std::vector<std::string> parts = absl::StrSplit(line, " -> ");
    if (parts.size() != 2 || !absl::StartsWith(line, machine + ":")) continue;
    const std::string from(
        absl::StripAsciiWhitespace(parts[0].substr(machine.size() + 1)));
    for (const absl::string_view to : absl::StrSplit(parts[1], ' ')) {
      moves.insert(absl::StrCat(from, " -> ", to));
    }
  }
  return moves;
}

template <typename State>
std::set<std::string> Coded(const std::vector<State>& states) {
  std::set<std::string> moves;
  for (const State from : states) {
    for (const State to : states) {
      if (from != to && CheckTransition(from, to).ok()) {
        moves.insert(absl::StrCat(std::string(Name(from)), " -> ",
                                  std::string(Name(to))));
      }
    }
  }
  return moves;
}

TEST(Architecture, DrawsTheMovesOfJobsTasksAndActions) {
  EXPECT_EQ(Drawn("job"),
            Coded<JobState>({JobState::kQueued, JobState::kRunning,
                             JobState::kSucceeded, JobState::kFailed,
                             JobState::kCancelled}));
  EXPECT_EQ(Drawn("task"),
            Coded<TaskState>({TaskState::kWaiting, TaskState::kPending,
                              TaskState::kRunning, TaskState::kSucceeded,
                              TaskState::kFailed, TaskState::kCancelled}));
  EXPECT_EQ(
      Drawn("action"),
      Coded<ActionState>({ActionState::kPending, ActionState::kRunning,
                          ActionState::kSucceeded, ActionState::kFailed}));
}

TEST(Architecture, ListsEveryFailureClass) {
  for (int i = 0; i <= static_cast<int>(FailureClass::kInternal); ++i) {
    const auto failure = static_cast<FailureClass>(i);
    EXPECT_THAT(Document(),
                HasSubstr(absl::StrCat(
                    "| ", std::string(FailureClassName(failure)), " |")));
  }
}

TEST(Architecture, NamesEveryLayerOfTheCheck) {
  const std::string check =
      ReadFile(absl::StrCat(DASM_SOURCE_DIR, "/cmake/check_layers.cmake"));
  int layers = 0;
  for (const std::string& line : Lines(check)) {
    if (!absl::StartsWith(line, "set(ALLOW_")) continue;
    const std::string layer = line.substr(10, line.find(' ') - 10);
    EXPECT_THAT(Document(), HasSubstr(layer)) << layer;
    ++layers;
  }
  EXPECT_GE(layers, 10);
}

}  // namespace
}  // namespace dasm
