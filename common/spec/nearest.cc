#include "common/spec/nearest.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

// Nobody misspells more; a hostile name costs no more than this.
constexpr size_t kMaxLength = 100;

}  // namespace

int EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::vector<int>> cost(a.size() + 1,
                                     std::vector<int>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = static_cast<int>(i);
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replace = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      cost[i][j] = std::min({replace, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

std::string Nearest(std::string_view name,
                    const std::vector<std::string>& names) {
  name = name.substr(0, kMaxLength);
  const std::string* best = nullptr;
  int best_distance = 0;
  for (const std::string& candidate : names) {
    const int distance = EditDistance(name, candidate);
    if (best == nullptr || distance < best_distance) {
      best = &candidate;
      best_distance = distance;
    }
  }
  return best == nullptr ? "" : *best;
}

std::string DidYouMean(std::string_view name,
                       const std::vector<std::string>& names) {
  const std::string nearest = Nearest(name, names);
  const size_t longest = std::max(name.size(), nearest.size());
  if (nearest.empty() || name.size() > kMaxLength ||
      EditDistance(name, nearest) * 3 > static_cast<int>(longest)) {
    return "";
  }
  return absl::StrCat("; did you mean \"", nearest, "\"?");
}

}  // namespace dasm
