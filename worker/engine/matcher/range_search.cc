#include "worker/engine/matcher/range_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dasm {

RangeSearch::RangeSearch(int window, int start_epochs)
    : window_(window), start_epochs_(start_epochs) {}

double RangeSearch::MeanOf(const std::vector<double>& losses, int begin,
                           int end) const {
  double sum = 0;
  for (int t = begin; t < end; ++t) {
    sum += std::isfinite(losses[t]) ? losses[t]
                                    : std::numeric_limits<double>::infinity();
  }
  return end > begin ? sum / (end - begin) : 0;
}

std::optional<RangeSearch::Bounds> RangeSearch::Following() {
  const Bounds probed = bounds_.back();
  if (!raising_end_) {
    found_ = probed;
    first_of_found_ = static_cast<int>(losses_.size()) - 1;
    const double later = MeanOf(losses_.back(), probed.end, start_epochs_);
    const double at_start = MeanOf(losses_.front(), probed.end, start_epochs_);
    if (later > at_start && probed.end < start_epochs_) {
      return Bounds{probed.end, std::min(start_epochs_, probed.end + window_)};
    }
    raising_end_ = true;
  } else {
    const int end = std::min(start_epochs_, found_.begin + window_);
    const double before =
        MeanOf(losses_[losses_.size() - 2], found_.begin, end);
    if (MeanOf(losses_.back(), found_.begin, end) > before) {
      return std::nullopt;
    }
    found_ = probed;
  }
  if (found_.end >= start_epochs_) return std::nullopt;
  return Bounds{found_.begin, std::min(start_epochs_, found_.end + window_)};
}

void RangeSearch::Add(const std::vector<double>& losses) {
  bounds_.push_back(*next_);
  losses_.push_back(losses);
  next_ = bounds_.size() == 1 ? Bounds{0, std::min(start_epochs_, window_)}
                              : Following();
}

RangeSearch::Range RangeSearch::Found() const {
  Range range = {found_.begin, found_.end, found_.end};
  for (size_t k = first_of_found_; k < losses_.size(); ++k) {
    for (int t = range.min; t < range.initial; ++t) {
      // In this form NaN counts too.
      if (!(losses_[k][t] <= 1)) range.initial = t;
    }
  }
  range.initial = std::max(range.initial, range.min + 1);
  return range;
}

}  // namespace dasm
