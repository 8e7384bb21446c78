// What a pool tells about the run: how much of the real set the synthetic set
// has taught so far, what came and went since the last segment, how stable the
// decision is.
//
// Fractions and Jaccard indices lie in [0, 1]; counts are images.
#ifndef DASM_WORKER_ENGINE_POOL_POOL_DIAGNOSTICS_H_
#define DASM_WORKER_ENGINE_POOL_POOL_DIAGNOSTICS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "worker/engine/pool/select_pool.h"

namespace dasm {

// Of the previous boundary, [N] each. Borrows.
struct PreviousPool {
  absl::Span<const uint8_t> members;
  absl::Span<const uint8_t> learned;
};

// What a pool is compared with; each may be absent (empty). Borrows.
struct PoolReferences {
  std::optional<PreviousPool> previous;
  absl::Span<const double> el2n;  // [N], of a network trained on real data
  // [N], 1: a tile of an earlier segment started as this image.
  absl::Span<const uint8_t> tile_sources;
};

struct PoolDiagnostics {
  double learned_fraction = 0;
  std::vector<double> learned_fraction_by_class;  // 0 for an empty class
  std::vector<int64_t> pool_size_by_class;
  // Against the previous boundary, or against nothing learned.
  int64_t newly_learned = 0;
  int64_t forgotten = 0;
  int64_t never_learned = 0;
  std::optional<double> jaccard_previous;
  // Mean over pairs of the pools that single networks would give; from two on.
  std::optional<double> jaccard_discriminators;
  // Images in ten equal parts by the reference's EL2N, easiest first.
  std::optional<std::vector<double>> learned_fraction_by_decile;
  // The discriminators have, in effect, seen the tile sources, so that their
  // decision is close to honest for the others only. Absent for no image.
  std::optional<double> learned_fraction_tile_sources;
  std::optional<double> learned_fraction_other_images;
};

// |a and b| / |a or b|; 1 for two empty sets.
double Jaccard(absl::Span<const uint8_t> a, absl::Span<const uint8_t> b);

// FAILED_PRECONDITION with failure class DATA: references of another number of
// images; else as ComputeStatistics.
absl::StatusOr<PoolDiagnostics> DiagnosePool(
    const SelectPoolParameters& parameters, const ScoredSamples& samples,
    const SampleStatistics& statistics, const Pool& pool,
    const PoolReferences& references);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_POOL_POOL_DIAGNOSTICS_H_
