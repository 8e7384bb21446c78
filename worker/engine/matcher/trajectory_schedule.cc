#include "worker/engine/matcher/trajectory_schedule.h"

#include <algorithm>
#include <utility>

namespace dasm {

int CurrentStartEpochEnd(const TrajectoryMatchingSpec& spec,
                         int64_t iteration) {
  if (spec.growth_iterations <= 0) return spec.start_epoch_max;
  const int64_t growth = spec.start_epoch_max - spec.start_epoch_initial;
  return static_cast<int>(std::min<int64_t>(
      spec.start_epoch_max,
      spec.start_epoch_initial + growth * iteration / spec.growth_iterations));
}

int DrawStartEpoch(const TrajectoryMatchingSpec& spec, int64_t iteration,
                   RandomSequence draws) {
  const int end = CurrentStartEpochEnd(spec, iteration);
  // An empty range, as growth may begin with, is its first epoch.
  const int epochs = std::max(1, end - spec.start_epoch_min);
  return spec.start_epoch_min +
         static_cast<int>(draws.Below(static_cast<uint32_t>(epochs)));
}

int64_t ExpertOfDraw(const RandomStream& stream, int64_t experts,
                     int64_t draw) {
  return stream.At(static_cast<uint32_t>(draw / experts))
      .Permutation(experts)[draw % experts];
}

std::vector<std::vector<int64_t>> DrawBatches(const RandomStream& stream,
                                              uint32_t draw, uint32_t probe,
                                              int64_t images, int64_t batch,
                                              int steps) {
  if (batch <= 0 || batch > images) batch = images;
  std::vector<std::vector<int64_t>> batches;
  std::vector<std::vector<int64_t>> queue;
  uint32_t passes = 0;
  while (static_cast<int>(batches.size()) < steps) {
    if (queue.empty()) {
      const std::vector<int64_t> order =
          stream.At(draw, probe, passes++).Permutation(images);
      for (int64_t begin = 0; begin < images; begin += batch) {
        queue.emplace_back(order.begin() + begin,
                           order.begin() + std::min(images, begin + batch));
      }
    }
    batches.push_back(std::move(queue.back()));
    queue.pop_back();
  }
  return batches;
}

}  // namespace dasm
