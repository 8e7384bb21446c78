// DATM's matching range from probe runs (Guo et al. 2024, A.6), as a search
// that says which range to distil next and is told the losses of a held-out
// expert afterwards:
//
//   0  the start itself, before any iteration, for comparison
//   1  windows [0, w), [w, 2w), ... while distilling from them raises the mean
//      loss of the later start epochs above what the start has there: what is
//      learned is then too easy. The first window that does not is kept.
//   2  its end is raised by w at a time, until the mean loss of the window's
//      own epochs increases: what is learned is then too hard. The end before
//      that is start_epoch_max.
//   start_epoch_initial is the first epoch of the range at which a probe of
//   step 2 (and of the window kept) saw a loss above 1, the whole range where
//   none did; at least one epoch is in front of it.
//
// A loss that is not finite counts as infinitely large.
#ifndef DASM_WORKER_ENGINE_MATCHER_RANGE_SEARCH_H_
#define DASM_WORKER_ENGINE_MATCHER_RANGE_SEARCH_H_

#include <optional>
#include <vector>

namespace dasm {

class RangeSearch {
 public:
  // Start epochs [begin, end); {0, 0}: the start itself.
  struct Bounds {
    int begin = 0;
    int end = 0;
    bool operator==(const Bounds&) const = default;
  };
  struct Range {
    int min = 0;
    int initial = 0;
    int max = 0;  // excluded
  };

  // Start epochs are 0 .. start_epochs - 1. window >= 1.
  RangeSearch(int window, int start_epochs);

  // What to probe next; nothing when the range is found.
  std::optional<Bounds> Next() const { return next_; }
  // The losses at each start epoch after a run with Next().
  void Add(const std::vector<double>& losses);

  Range Found() const;
  const std::vector<Bounds>& bounds() const { return bounds_; }
  const std::vector<std::vector<double>>& losses() const { return losses_; }

 private:
  double MeanOf(const std::vector<double>& losses, int begin, int end) const;
  // After a run of step 1 or 2.
  std::optional<Bounds> Following();

  const int window_;
  const int start_epochs_;
  std::optional<Bounds> next_ = Bounds{0, 0};
  std::vector<Bounds> bounds_;
  std::vector<std::vector<double>> losses_;
  bool raising_end_ = false;  // step 2
  Bounds found_;
  int first_of_found_ = 0;  // number of the probe of the window kept
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_MATCHER_RANGE_SEARCH_H_
