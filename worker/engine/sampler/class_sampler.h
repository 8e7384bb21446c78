// How a batch of real images of one class comes from the class and its pool:
// an epoch walk, a weighted draw, or a mixture of the pool and the whole class.
//
// Determinism: a batch is a pure function of (seed, stream, class, step); no
// position is carried from step to step, so a resumed run needs no state.
// Threads: not thread-safe (memoises the current permutation).
#ifndef DASM_WORKER_ENGINE_SAMPLER_CLASS_SAMPLER_H_
#define DASM_WORKER_ENGINE_SAMPLER_CLASS_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "common/base/random_stream.h"

namespace dasm {

// Walks `items` epoch by epoch, each in its own permutation, dropping the last
// incomplete batch (IDC's per-class loader). Fewer items than a batch wrap:
// consecutive permutations are joined.
class EpochWalk {
 public:
  // `items` not empty; `batch` > 0; `lane` tells apart the walks of a stream
  // (a class).
  EpochWalk(uint64_t seed, std::string_view stream, uint32_t lane,
            std::vector<int64_t> items, int64_t batch);

  // Appends the batch of a global step to `batch`.
  void Append(int64_t step, std::vector<int64_t>* batch);

 private:
  const std::vector<int64_t>& Order(int64_t epoch);

  const RandomStream stream_;
  const uint32_t lane_;
  const std::vector<int64_t> items_;
  const int64_t batch_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

// `count` of 0 .. weights.size()-1, one after another with probability in
// proportion to weight among those left (all distinct while they last, then
// from the start again). Weights of 0 are never drawn; one must be above 0.
std::vector<int64_t> WeightedDraw(RandomSequence draws,
                                  absl::Span<const float> weights,
                                  int64_t count);

// Which real images of a class a segment is distilled from.
struct ClassPool {
  std::vector<int64_t> members;  // empty: no pool, the whole class
  // Of members, where they are drawn by weight (V4); empty: epoch by epoch.
  std::vector<float> weights;
};

// The real batches of one class.
class ClassSampler {
 public:
  struct Options {
    uint64_t seed = 0;
    uint32_t label = 0;
    int64_t batch = 0;
    std::vector<int64_t> whole;  // all images of the class; not empty
    ClassPool pool;
    double mix = 1.0;  // share of the batch from the pool, 0 .. 1
  };
  explicit ClassSampler(Options options);

  // Indices of the images of a global step: the pool's part first.
  std::vector<int64_t> Batch(int64_t step);

 private:
  const Options options_;
  const RandomStream weighted_;
  int64_t from_pool_ = 0;
  std::unique_ptr<EpochWalk> pool_walk_;
  std::unique_ptr<EpochWalk> whole_walk_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_SAMPLER_CLASS_SAMPLER_H_
