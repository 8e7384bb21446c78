#include "common/base/random_stream.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "Random123/philox.h"

namespace dasm {
namespace {

// splitmix64's finaliser.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace

RandomSequence::RandomSequence(uint64_t key, uint32_t a, uint32_t b, uint32_t c)
    : key_(key), counter_{0, a, b, c} {}

uint32_t RandomSequence::Next() {
  if (used_ == 4) {
    r123::Philox4x32::ctr_type counter = {
        {counter_[0], counter_[1], counter_[2], counter_[3]}};
    r123::Philox4x32::key_type key = {
        {static_cast<uint32_t>(key_), static_cast<uint32_t>(key_ >> 32)}};
    const auto block = r123::Philox4x32()(counter, key);
    for (int i = 0; i < 4; ++i) block_[i] = block[i];
    ++counter_[0];
    used_ = 0;
  }
  return block_[used_++];
}

double RandomSequence::Uniform() { return (Next() >> 8) * 0x1p-24; }

double RandomSequence::Uniform(double low, double high) {
  return low + (high - low) * Uniform();
}

double RandomSequence::Normal() {
  // 1 - u lies in (0, 1], where the logarithm is finite.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
  return radius * std::cos(2.0 * M_PI * Uniform());
}

uint32_t RandomSequence::Below(uint32_t n) {
  // Lemire's multiply-shift with rejection of the biased low part.
  const uint32_t threshold = (0u - n) % n;
  for (;;) {
    const uint64_t product = static_cast<uint64_t>(Next()) * n;
    if (static_cast<uint32_t>(product) >= threshold) return product >> 32;
  }
}

std::vector<int64_t> RandomSequence::Permutation(int64_t n) {
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = n - 1; i > 0; --i) {
    std::swap(order[i], order[Below(static_cast<uint32_t>(i + 1))]);
  }
  return order;
}

RandomStream::RandomStream(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a
  for (char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  }
  key_ = Mix(Mix(seed) ^ hash);
}

}  // namespace dasm
