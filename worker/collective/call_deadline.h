// How long a call may take: max(minimum, 20 x the median of the last calls), so
// that slow steps get time and a frozen peer is still noticed.
#ifndef DASM_WORKER_COLLECTIVE_CALL_DEADLINE_H_
#define DASM_WORKER_COLLECTIVE_CALL_DEADLINE_H_

#include <algorithm>
#include <deque>
#include <vector>

#include "absl/time/time.h"

namespace dasm {

// Threads: not thread-safe.
class CallDeadline {
 public:
  explicit CallDeadline(absl::Duration minimum) : minimum_(minimum) {}

  void Add(absl::Duration call) {
    last_.push_back(call);
    if (last_.size() > kRemembered) last_.pop_front();
  }
  absl::Duration Current() const {
    if (last_.empty()) return minimum_;
    std::vector<absl::Duration> sorted(last_.begin(), last_.end());
    const auto middle = sorted.begin() + sorted.size() / 2;
    std::nth_element(sorted.begin(), middle, sorted.end());
    return std::max(minimum_, 20 * *middle);
  }

 private:
  static constexpr size_t kRemembered = 31;

  const absl::Duration minimum_;
  std::deque<absl::Duration> last_;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_CALL_DEADLINE_H_
