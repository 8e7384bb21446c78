// What the ranks of a gang do together. Ranks run the same loop on replicated
// state and share the work by virtual shards: shard s belongs to rank
// first + s mod (size - first). A call's `first` is 0, or the number of ranks
// that bring no rows: they take part and receive what all do. Works on floats,
// not tensors.
//
// Determinism: a sum is taken in shard order, whatever the number of ranks, and
// every rank receives the same bits.
// Threads: one object a rank, used by one thread. Every rank calls the same
// methods in the same order with the same sizes and the same `first`.
// Errors: UNAVAILABLE when a peer is gone or the gang was aborted,
// DEADLINE_EXCEEDED when a peer does not come; both name the rank. After an
// error the gang is dead.
#ifndef DASM_WORKER_COLLECTIVE_COLLECTIVE_H_
#define DASM_WORKER_COLLECTIVE_COLLECTIVE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace dasm {

inline int OwnerOfShard(int64_t shard, int size, int first) {
  return first + static_cast<int>(shard % (size - first));
}

class Collective {
 public:
  enum class Memory {
    kHost,
    // Spans are device memory and calls are queued on the calling thread's
    // current stream: OK means queued, and an error may come with a later call.
    // Broadcast and Barrier stay host operations.
    kDevice,
  };

  virtual ~Collective() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual Memory memory() const { return Memory::kHost; }

  // `rows` is [shards, length], this rank's rows filled; `sum` [length]
  // receives row 0 + row 1 + ... in that order. One row, of rank `first`, comes
  // to everyone as it is, in fewer bytes than by GatherShards.
  absl::Status SumShards(absl::Span<const float> rows, int64_t shards,
                         absl::Span<float> sum, int first = 0) {
    return DoSumShards(rows, shards, sum, first);
  }
  // `rows` is [shards, length], this rank's rows filled; on return all are.
  absl::Status GatherShards(absl::Span<float> rows, int64_t shards,
                            int first = 0) {
    return DoGatherShards(rows, shards, first);
  }
  // Rank 0's bytes to everyone.
  virtual absl::Status Broadcast(absl::Span<char> bytes) = 0;
  virtual absl::Status Barrier() = 0;
  // Makes every pending and later call of every rank fail with `why`. From any
  // thread.
  virtual void Abort(absl::Status why) = 0;

 protected:
  virtual absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                                   absl::Span<float> sum, int first) = 0;
  virtual absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                                      int first) = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_COLLECTIVE_H_
