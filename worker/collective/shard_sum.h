// The one definition of a sum over shards: row 0, then + row 1, and so on, for
// each element. Every Collective uses it, so that all give the same bits.
#ifndef DASM_WORKER_COLLECTIVE_SHARD_SUM_H_
#define DASM_WORKER_COLLECTIVE_SHARD_SUM_H_

#include <algorithm>
#include <cstdint>

namespace dasm {

// Sums elements [begin, end) of `shards` >= 1 rows into sum[begin, end).
// `row(s)` is the first element of shard s; no row overlaps `sum`.
template <typename Row>
void SumShardRange(const Row& row, int64_t shards, int64_t begin, int64_t end,
                   float* sum) {
  // Blocks that stay in the first-level cache while the shards stream by.
  constexpr int64_t kBlock = 2048;
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t stop = std::min(end, at + kBlock);
    const float* first = row(0);
    std::copy(first + at, first + stop, sum + at);
    for (int64_t s = 1; s < shards; ++s) {
      const float* next = row(s);
      for (int64_t i = at; i < stop; ++i) sum[i] += next[i];
    }
  }
}

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_SHARD_SUM_H_
