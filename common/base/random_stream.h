// Keyed, counter-based randomness: a draw is a pure function of (seed, stream
// name, position, index), by Philox4x32-10 (Salmon et al. 2011). No generator
// state exists, so resume, sharding and CPU/GPU agreement need no care.
#ifndef DASM_COMMON_BASE_RANDOM_STREAM_H_
#define DASM_COMMON_BASE_RANDOM_STREAM_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace dasm {

// The draws at one logical position. Copies continue independently.
class RandomSequence {
 public:
  RandomSequence(uint64_t key, uint32_t a, uint32_t b, uint32_t c);

  uint32_t Next();
  // [0, 1) in steps of 2^-24: exact in float and double.
  double Uniform();
  // [low, high)
  double Uniform(double low, double high);
  // Standard normal (Box-Muller).
  double Normal();
  // [0, n), unbiased; n > 0.
  uint32_t Below(uint32_t n);
  // A uniform permutation of 0 .. n-1 (Fisher-Yates).
  std::vector<int64_t> Permutation(int64_t n);

 private:
  uint64_t key_;
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 4> block_;
  int used_ = 4;
};

// A named stream of a seed, e.g. RandomStream(seed, "match.real").
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  // The draws at a position such as (iteration, step, class).
  RandomSequence At(uint32_t a = 0, uint32_t b = 0, uint32_t c = 0) const {
    return RandomSequence(key_, a, b, c);
  }

 private:
  uint64_t key_;
};

}  // namespace dasm

#endif  // DASM_COMMON_BASE_RANDOM_STREAM_H_
