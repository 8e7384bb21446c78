#include "worker/engine/pool/pool_diagnostics.h"

#include <algorithm>
#include <numeric>

#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

absl::StatusOr<double> MeanPairwiseJaccard(
    const SelectPoolParameters& parameters, const ScoredSamples& samples) {
  std::vector<Pool> pools;
  for (const auto& scores : samples.probabilities) {
    const ScoredSamples single{samples.labels, samples.classes, {scores}};
    DASM_ASSIGN_OR_RETURN(const SampleStatistics statistics,
                          ComputeStatistics(single));
    pools.push_back(
        SelectPool(parameters, samples.labels, samples.classes, statistics));
  }
  double sum = 0;
  int pairs = 0;
  for (size_t a = 0; a < pools.size(); ++a) {
    for (size_t b = a + 1; b < pools.size(); ++b, ++pairs) {
      sum += Jaccard(pools[a].members, pools[b].members);
    }
  }
  return sum / pairs;
}

std::vector<double> LearnedByDecile(absl::Span<const double> difficulty,
                                    const std::vector<uint8_t>& learned) {
  const int64_t n = difficulty.size();
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return difficulty[a] < difficulty[b];
  });
  std::vector<double> fractions;
  for (int64_t decile = 0; decile < 10; ++decile) {
    const int64_t from = decile * n / 10;
    const int64_t to = (decile + 1) * n / 10;
    int64_t count = 0;
    for (int64_t r = from; r < to; ++r) count += learned[order[r]];
    fractions.push_back(to == from ? 0.0
                                   : static_cast<double>(count) / (to - from));
  }
  return fractions;
}

// Of the images whose `mask` is `value`.
std::optional<double> LearnedWhere(absl::Span<const uint8_t> mask, bool value,
                                   const std::vector<uint8_t>& learned) {
  int64_t count = 0;
  int64_t hits = 0;
  for (size_t i = 0; i < mask.size(); ++i) {
    if ((mask[i] != 0) != value) continue;
    ++count;
    hits += learned[i];
  }
  if (count == 0) return std::nullopt;
  return static_cast<double>(hits) / count;
}

}  // namespace

double Jaccard(absl::Span<const uint8_t> a, absl::Span<const uint8_t> b) {
  int64_t both = 0;
  int64_t either = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    both += a[i] && b[i];
    either += a[i] || b[i];
  }
  return either == 0 ? 1.0 : static_cast<double>(both) / either;
}

absl::StatusOr<PoolDiagnostics> DiagnosePool(
    const SelectPoolParameters& parameters, const ScoredSamples& samples,
    const SampleStatistics& statistics, const Pool& pool,
    const PoolReferences& references) {
  const int64_t n = samples.size();
  const auto fits = [n](size_t size) {
    return static_cast<int64_t>(size) == n;
  };
  const std::optional<PreviousPool>& previous = references.previous;
  if ((previous &&
       !(fits(previous->members.size()) && fits(previous->learned.size()))) ||
      !(references.el2n.empty() || fits(references.el2n.size())) ||
      !(references.tile_sources.empty() ||
        fits(references.tile_sources.size()))) {
    return WithFailureClass(
        absl::FailedPreconditionError(
            "the previous pool, the reference scores or the tile sources are "
            "of another number of training images"),
        FailureClass::kData);
  }
  PoolDiagnostics result;
  std::vector<int64_t> class_size(samples.classes);
  std::vector<int64_t> class_learned(samples.classes);
  result.pool_size_by_class.resize(samples.classes);
  int64_t learned = 0;
  for (int64_t i = 0; i < n; ++i) {
    const bool now = statistics.learned[i];
    const bool before = previous && previous->learned[i];
    learned += now;
    ++class_size[samples.labels[i]];
    class_learned[samples.labels[i]] += now;
    result.pool_size_by_class[samples.labels[i]] += pool.members[i];
    result.newly_learned += now && !before;
    result.forgotten += !now && before;
    result.never_learned += !now && !before;
  }
  result.learned_fraction = n == 0 ? 0.0 : static_cast<double>(learned) / n;
  for (int c = 0; c < samples.classes; ++c) {
    result.learned_fraction_by_class.push_back(
        class_size[c] == 0
            ? 0.0
            : static_cast<double>(class_learned[c]) / class_size[c]);
  }
  if (previous) {
    result.jaccard_previous = Jaccard(previous->members, pool.members);
  }
  if (samples.probabilities.size() > 1) {
    DASM_ASSIGN_OR_RETURN(result.jaccard_discriminators,
                          MeanPairwiseJaccard(parameters, samples));
  }
  if (!references.el2n.empty()) {
    result.learned_fraction_by_decile =
        LearnedByDecile(references.el2n, statistics.learned);
  }
  result.learned_fraction_tile_sources =
      LearnedWhere(references.tile_sources, true, statistics.learned);
  result.learned_fraction_other_images =
      LearnedWhere(references.tile_sources, false, statistics.learned);
  return result;
}

}  // namespace dasm
