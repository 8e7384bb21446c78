#include "worker/engine/teacher/epoch_data.h"

#include "common/base/random_stream.h"

namespace dasm {

std::vector<int64_t> EpochData::Chosen(uint64_t seed, int epoch) const {
  if (!images_.pool.empty()) {
    return PoolImages(images_.pool, images_.others,
                      RandomStream(seed, "expert.others"), epoch);
  }
  return ScheduledImages(training_.schedule, epoch, training_.epochs,
                         images_.ranked);
}

int64_t EpochData::Batches(int epoch) const {
  const auto count = static_cast<int64_t>(Chosen(/*seed=*/0, epoch).size());
  return (count + training_.batch - 1) / training_.batch;
}

int64_t EpochData::TotalBatches() const {
  int64_t total = 0;
  for (int epoch = 0; epoch < training_.epochs; ++epoch) {
    total += Batches(epoch);
  }
  return total;
}

std::vector<int64_t> EpochData::Order(uint64_t seed, int epoch) const {
  const std::vector<int64_t> chosen = Chosen(seed, epoch);
  std::vector<int64_t> order =
      RandomStream(seed, "expert.order")
          .At(static_cast<uint32_t>(epoch))
          .Permutation(static_cast<int64_t>(chosen.size()));
  for (int64_t& position : order) position = chosen[position];
  return order;
}

}  // namespace dasm
