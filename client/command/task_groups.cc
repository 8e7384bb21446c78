#include "client/command/task_groups.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

int64_t NumberOf(absl::string_view id) {
  int64_t number = 0;
  return absl::SimpleAtoi(id.substr(id.rfind('-') + 1), &number) ? number : 0;
}

}  // namespace

absl::string_view GroupPrefix(absl::string_view id) {
  const size_t dash = id.rfind('-');
  if (dash == absl::string_view::npos || dash + 1 == id.size()) return {};
  const absl::string_view digits = id.substr(dash + 1);
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit)) {
    return {};
  }
  return id.substr(0, dash);
}

std::vector<TaskGroup> GroupTasks(const std::vector<std::string>& ids) {
  std::map<absl::string_view, std::vector<size_t>> by_prefix;
  for (size_t i = 0; i < ids.size(); ++i) {
    by_prefix[GroupPrefix(ids[i])].push_back(i);
  }
  std::vector<TaskGroup> groups;
  for (size_t i = 0; i < ids.size(); ++i) {
    const absl::string_view prefix = GroupPrefix(ids[i]);
    std::vector<size_t>& members = by_prefix.at(prefix);
    if (prefix.empty() ||
        (members.size() < kLeastOfGroup && !members.empty())) {
      groups.push_back({ids[i], {i}});
      continue;
    }
    if (members.empty()) continue;  // shown already
    std::sort(members.begin(), members.end(), [&](size_t a, size_t b) {
      return NumberOf(ids[a]) < NumberOf(ids[b]);
    });
    TaskGroup& group = groups.emplace_back();
    group.label =
        absl::StrCat(ids[members.front()], " .. ", ids[members.back()]);
    group.members = std::move(members);
    members.clear();
  }
  return groups;
}

}  // namespace dasm
