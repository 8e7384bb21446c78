// Checks and statuses that the implementations of Collective share.
#ifndef DASM_WORKER_COLLECTIVE_SHARD_CHECK_H_
#define DASM_WORKER_COLLECTIVE_SHARD_CHECK_H_

#include <cstdint>

#include "absl/status/status.h"

namespace dasm {

// INVALID_ARGUMENT unless shards >= 1, rows is [shards, length] and
// 0 <= first < size, that of the gang.
absl::Status CheckSum(int64_t rows, int64_t shards, int64_t length, int first,
                      int size);
// INVALID_ARGUMENT unless shards >= 1 divides rows and 0 <= first < size.
absl::Status CheckGather(int64_t rows, int64_t shards, int first, int size);
// What a call returns after Abort(why): `why` with failure class COLLECTIVE
// where it has none; UNAVAILABLE where it is OK.
absl::Status AbortStatus(absl::Status why);

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_SHARD_CHECK_H_
