// The Collective of a gang of one whose rows are on its device: a sum is one
// kernel, with the bits of every other implementation.
//
// Errors: as SingleProcessCollective, and those of the device.
// Threads: as Collective.
#ifndef DASM_WORKER_CUDA_DEVICE_COLLECTIVE_H_
#define DASM_WORKER_CUDA_DEVICE_COLLECTIVE_H_

#include <mutex>

#include "absl/status/status.h"
#include "worker/collective/collective.h"
#include "worker/cuda/device_queue.h"

namespace dasm {

class DeviceCollective final : public Collective {
 public:
  // Borrows `queue`.
  explicit DeviceCollective(DeviceQueue* queue) : queue_(queue) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  Memory memory() const override { return Memory::kDevice; }
  absl::Status Broadcast(absl::Span<char> bytes) override;
  absl::Status Barrier() override;
  void Abort(absl::Status why) override;

 private:
  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override;
  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override;
  absl::Status Failure() const;

  DeviceQueue* const queue_;
  // std::mutex, for the reason given in thread_collective.cc.
  mutable std::mutex mutex_;
  absl::Status failure_;
};

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_DEVICE_COLLECTIVE_H_
