#include "worker/engine/sampler/class_sampler.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/logging.h"

namespace dasm {

EpochWalk::EpochWalk(uint64_t seed, std::string_view stream, uint32_t lane,
                     std::vector<int64_t> items, int64_t batch)
    : stream_(seed, stream),
      lane_(lane),
      items_(std::move(items)),
      batch_(batch) {
  DASM_CHECK(!items_.empty() && batch_ > 0);
}

const std::vector<int64_t>& EpochWalk::Order(int64_t epoch) {
  if (epoch != epoch_) {
    order_ = stream_.At(lane_, static_cast<uint32_t>(epoch))
                 .Permutation(items_.size());
    epoch_ = epoch;
  }
  return order_;
}

void EpochWalk::Append(int64_t step, std::vector<int64_t>* batch) {
  const int64_t count = items_.size();
  // The walk in units of items; an epoch uses only whole batches of them.
  const int64_t used = count >= batch_ ? count - count % batch_ : count;
  for (int64_t at = step * batch_; at < (step + 1) * batch_; ++at) {
    batch->push_back(items_[Order(at / used)[at % used]]);
  }
}

std::vector<int64_t> WeightedDraw(RandomSequence draws,
                                  absl::Span<const float> weights,
                                  int64_t count) {
  // Efraimidis and Spirakis 2006: the items with the least Exp(1) / weight, in
  // that order, are a successive draw without replacement.
  std::vector<std::pair<double, int64_t>> keys;
  std::vector<int64_t> drawn;
  while (static_cast<int64_t>(drawn.size()) < count) {
    keys.clear();
    for (size_t i = 0; i < weights.size(); ++i) {
      const double exponential = -std::log(1.0 - draws.Uniform());
      if (weights[i] > 0) keys.emplace_back(exponential / weights[i], i);
    }
    DASM_CHECK(!keys.empty());
    const int64_t take = std::min<int64_t>(
        keys.size(), count - static_cast<int64_t>(drawn.size()));
    std::partial_sort(keys.begin(), keys.begin() + take, keys.end());
    for (int64_t i = 0; i < take; ++i) drawn.push_back(keys[i].second);
  }
  return drawn;
}

ClassSampler::ClassSampler(Options options)
    : options_(std::move(options)),
      weighted_(options_.seed, "match.real.weighted") {
  if (!options_.pool.members.empty()) {
    from_pool_ = std::clamp<int64_t>(
        std::llround(options_.mix * options_.batch), 0, options_.batch);
  }
  if (from_pool_ > 0 && options_.pool.weights.empty()) {
    pool_walk_ = std::make_unique<EpochWalk>(options_.seed, "match.real.pool",
                                             options_.label,
                                             options_.pool.members, from_pool_);
  }
  if (from_pool_ < options_.batch) {
    whole_walk_ = std::make_unique<EpochWalk>(options_.seed, "match.real",
                                              options_.label, options_.whole,
                                              options_.batch - from_pool_);
  }
}

std::vector<int64_t> ClassSampler::Batch(int64_t step) {
  std::vector<int64_t> batch;
  batch.reserve(options_.batch);
  if (pool_walk_ != nullptr) {
    pool_walk_->Append(step, &batch);
  } else if (from_pool_ > 0) {
    for (int64_t i :
         WeightedDraw(weighted_.At(static_cast<uint32_t>(step), options_.label),
                      options_.pool.weights, from_pool_)) {
      batch.push_back(options_.pool.members[i]);
    }
  }
  if (whole_walk_ != nullptr) whole_walk_->Append(step, &batch);
  return batch;
}

}  // namespace dasm
