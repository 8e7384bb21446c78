// Shares the work of a loop among the ranks of a gang: shards are computed by
// their owners and come back as a sum in shard order, or as all their rows. A
// loop may do so several times a step.
//
// Shard s belongs to rank first + s mod (size - first); ranks before `first`,
// which is 0 unless said otherwise, compute nothing and receive everything.
// What a shard holds follows from the spec alone, so the result has the same
// bits for any number of ranks (with an ordered collective).
//
// Memory: rows lie where the collective wants them. On a device nothing is read
//   back: with a collective of device memory, or one rank, all is queued.
// Numerics: float32, and float64, which no collective adds: its rows are
//   gathered as they are and added here.
// Errors: those of the collective. Threads: one object a rank.
#ifndef DASM_WORKER_ENGINE_SHARD_SHARD_RUNNER_H_
#define DASM_WORKER_ENGINE_SHARD_SHARD_RUNNER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/collective/collective.h"

namespace dasm {

class ShardRunner {
 public:
  // Fills all of `row` [length].
  using Shard = absl::FunctionRef<void(int64_t shard, const at::Tensor& row)>;

  // Borrows `collective`. Results are on `device`, where the loop computes.
  // 0 <= first < the collective's size.
  ShardRunner(Collective* collective, at::Device device, int first = 0)
      : collective_(collective), device_(device), first_(first) {}

  int rank() const { return collective_->rank(); }
  int size() const { return collective_->size(); }
  at::Device device() const { return device_; }
  // How many ranks compute shards.
  int owners() const { return size() - first_; }
  bool Owns(int64_t shard) const {
    return OwnerOfShard(shard, size(), first_) == rank();
  }

  // [length]: row 0 + row 1 + ..., in this order.
  absl::StatusOr<at::Tensor> Sum(int64_t shards, int64_t length,
                                 at::ScalarType dtype, Shard compute) const;
  // [shards, length].
  absl::StatusOr<at::Tensor> Gather(int64_t shards, int64_t length,
                                    at::ScalarType dtype, Shard compute) const;
  // The same in place: `rows` [shards, ...], contiguous, this rank's filled.
  absl::Status GatherInto(int64_t shards, const at::Tensor& rows) const;

 private:
  at::Device RowsDevice() const;
  at::Tensor ComputeRows(int64_t shards, int64_t length, at::ScalarType dtype,
                         Shard compute) const;

  Collective* const collective_;
  const at::Device device_;
  const int first_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_SHARD_SHARD_RUNNER_H_
