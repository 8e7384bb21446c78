// Many like tasks as one: "experts-1 .. experts-100" where a job trains a
// hundred.
#ifndef DASM_CLIENT_COMMAND_TASK_GROUPS_H_
#define DASM_CLIENT_COMMAND_TASK_GROUPS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace dasm {

// Fewer than these are shown one by one.
inline constexpr size_t kLeastOfGroup = 8;

// "experts" of "experts-12"; empty for an id without a number at its end.
absl::string_view GroupPrefix(absl::string_view id);

struct TaskGroup {
  // "experts-1 .. experts-100", or the id of the only one.
  std::string label;
  // Places in the list that was given, by the number of the ids.
  std::vector<size_t> members;
};

// Ids that differ in their last number alone are together, where their first
// stands, if there are at least kLeastOfGroup of them.
std::vector<TaskGroup> GroupTasks(const std::vector<std::string>& ids);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_TASK_GROUPS_H_
