// The Collective of a gang of one: nothing is exchanged, the order of the sum
// is that of every other implementation.
#ifndef DASM_WORKER_COLLECTIVE_SINGLE_PROCESS_COLLECTIVE_H_
#define DASM_WORKER_COLLECTIVE_SINGLE_PROCESS_COLLECTIVE_H_

#include <mutex>

#include "worker/collective/collective.h"
#include "worker/collective/reduction.h"

namespace dasm {

// Errors: INVALID_ARGUMENT for sizes that do not fit together; the status given
// to Abort() afterwards.
class SingleProcessCollective final : public Collective {
 public:
  // In one process both reductions are the sum in shard order.
  explicit SingleProcessCollective(Reduction = Reduction::kOrdered) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  absl::Status Broadcast(absl::Span<char> bytes) override;
  absl::Status Barrier() override;
  void Abort(absl::Status why) override;

 private:
  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override;
  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override;
  absl::Status Failure() const;

  // std::mutex, for the reason given in thread_collective.cc.
  mutable std::mutex mutex_;
  absl::Status failure_;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_SINGLE_PROCESS_COLLECTIVE_H_
