// Which real images the next segment of DASM is distilled from: what networks
// trained on all earlier segments have not learned (P-ADS: the trained network
// as discriminator), by one of four rules.
//
//   V1 misclassified  wrong by the majority of the D networks
//   V2 loss_quantile  the q of each class with the highest mean loss,
//                     q = max(quantile_floor, 1 - learned fraction of the set)
//   V3 el2n           |mean probabilities - one-hot| > el2n_threshold
//   V4 weighted       every image, sampled with probability in proportion to
//                     weight_floor + (1 - p_y)^weight_power
//   all               every image, alike
// Modifiers of V1-V4: the `trim` of each class with the highest loss (likely
// wrong labels) is left out; a class with fewer than `minimum` members is
// filled with its images of lowest p_y, trimmed ones last; a class smaller than
// `minimum` is taken whole. V1 and V3 turn into V2 with q 0.1 when less than
// 1 % of the whole set is unlearned: their pools would be label noise.
//
// Plain C++ on doubles: the same result on every machine.
#ifndef DASM_WORKER_ENGINE_POOL_SELECT_POOL_H_
#define DASM_WORKER_ENGINE_POOL_SELECT_POOL_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/spec/task_parameters.h"

namespace dasm {

// Probabilities of D >= 1 networks, each [N, classes] row-major, and labels
// [N] in [0, classes). Borrows.
struct ScoredSamples {
  absl::Span<const int64_t> labels;
  int classes = 0;
  std::vector<absl::Span<const float>> probabilities;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

// Per image, [N] each.
struct SampleStatistics {
  std::vector<double> label_probability;  // mean over the networks
  std::vector<double> loss;               // -log of it
  std::vector<double> el2n;
  std::vector<uint8_t> learned;  // correct by more than half of the networks
};

struct Pool {
  PoolRule rule = PoolRule::kAll;  // the one applied
  std::vector<uint8_t> members;    // [N], 0 or 1
  std::vector<float> weight;       // [N], sums to 1 over a class; 0: no member
};

// FAILED_PRECONDITION with failure class DATA: sizes that do not fit, a label
// out of range, a probability that is not in [0, 1].
absl::StatusOr<SampleStatistics> ComputeStatistics(
    const ScoredSamples& samples);

// `statistics` are those of `labels`.
Pool SelectPool(const SelectPoolParameters& parameters,
                absl::Span<const int64_t> labels, int classes,
                const SampleStatistics& statistics);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_POOL_SELECT_POOL_H_
