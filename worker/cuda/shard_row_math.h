// Which element goes where when rows of shards are packed and added: the
// arithmetic of the device kernels and of the host's stand-in, written once.
// The order of a sum is that of worker/collective/shard_sum.h.
#ifndef DASM_WORKER_CUDA_SHARD_ROW_MATH_H_
#define DASM_WORKER_CUDA_SHARD_ROW_MATH_H_

#include <cstdint>

#ifdef __CUDACC__
#define DASM_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define DASM_HOST_DEVICE inline
#endif

namespace dasm {

// Element of shard `s`, column `i`, in rows packed by rank.
DASM_HOST_DEVICE int64_t PackedIndex(int64_t s, int64_t i, int64_t ranks,
                                     int64_t per_rank, int64_t length) {
  return ((s % ranks) * per_rank + s / ranks) * length + i;
}

// Column `i` of the sum in shard order.
DASM_HOST_DEVICE float SumPackedColumn(const float* packed, int64_t i,
                                       int64_t shards, int64_t ranks,
                                       int64_t per_rank, int64_t length) {
  float sum = packed[i];
  for (int64_t s = 1; s < shards; ++s) {
    sum += packed[PackedIndex(s, i, ranks, per_rank, length)];
  }
  return sum;
}

// Column `i` of the sum of the rows of `rank`, in shard order; 0 without any.
DASM_HOST_DEVICE float SumOwnedColumn(const float* rows, int64_t i,
                                      int64_t shards, int64_t ranks,
                                      int64_t rank, int64_t length) {
  if (rank >= shards) return 0.0f;
  float sum = rows[rank * length + i];
  for (int64_t s = rank + ranks; s < shards; s += ranks) {
    sum += rows[s * length + i];
  }
  return sum;
}

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_SHARD_ROW_MATH_H_
