#include "worker/engine/teacher/data_schedule.h"

#include <algorithm>

namespace dasm {
namespace {

// As the reference: int(share * n).
int64_t Part(double share, int64_t images) {
  return static_cast<int64_t>(share * static_cast<double>(images));
}

double GrownShare(const DataScheduleSpec& schedule, int epoch) {
  if (epoch >= schedule.growth_epochs) return 1;
  const double initial = schedule.initial_share;
  return std::min(1.0,
                  initial + (1 - initial) * epoch / schedule.growth_epochs);
}

double RemovedShare(const DataScheduleSpec& schedule, int epoch, int epochs) {
  double before = 0;
  double share = 0;
  for (size_t i = 0; i < schedule.removals.size(); ++i) {
    const DataScheduleSpec::Removal& removal = schedule.removals[i];
    if (epoch <= removal.after_epoch) break;
    before = share;
    share = removal.share;
    const bool last = i + 1 == schedule.removals.size();
    const int until = last ? epochs - 1 : schedule.removals[i + 1].after_epoch;
    if (schedule.gradual && epoch < until) {
      return before + (share - before) * (epoch - removal.after_epoch) /
                          (until - removal.after_epoch);
    }
  }
  return share;
}

}  // namespace

ScheduledRange ScheduleOf(const DataScheduleSpec& schedule, int epoch,
                          int epochs, int64_t images) {
  if (!schedule.enabled) return {0, images};
  return {Part(RemovedShare(schedule, epoch, epochs), images),
          Part(GrownShare(schedule, epoch), images)};
}

std::vector<int64_t> ScheduledImages(const DataScheduleSpec& schedule,
                                     int epoch, int epochs,
                                     const ClassImages& ranked) {
  std::vector<int64_t> chosen;
  for (const std::vector<int64_t>& images : ranked) {
    const ScheduledRange range =
        ScheduleOf(schedule, epoch, epochs, images.size());
    for (int64_t i = range.begin; i < range.end; ++i) {
      chosen.push_back(images[i]);
    }
  }
  return chosen;
}

std::vector<int64_t> PoolImages(const ClassImages& pool,
                                const ClassImages& others,
                                const RandomStream& stream, int epoch) {
  std::vector<int64_t> chosen;
  for (size_t c = 0; c < pool.size(); ++c) {
    chosen.insert(chosen.end(), pool[c].begin(), pool[c].end());
    const std::vector<int64_t> order =
        stream.At(static_cast<uint32_t>(epoch), static_cast<uint32_t>(c))
            .Permutation(static_cast<int64_t>(others[c].size()));
    const size_t count = std::min(pool[c].size(), others[c].size());
    for (size_t i = 0; i < count; ++i) chosen.push_back(others[c][order[i]]);
  }
  return chosen;
}

}  // namespace dasm
