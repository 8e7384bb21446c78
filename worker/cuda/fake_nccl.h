// NCCL and devices without either: ranks of one process whose "device memory"
// is the heap and whose streams are queues of closures. What is queued runs,
// in order, once everything it needs is there; nothing blocks, so a peer that
// never comes is a mark that never passes. Faults are set before or while a
// gang runs.
#ifndef DASM_WORKER_CUDA_FAKE_NCCL_H_
#define DASM_WORKER_CUDA_FAKE_NCCL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/cuda/device_queue.h"
#include "worker/cuda/nccl_api.h"

namespace dasm {

// The library and the wires; one for all ranks. Thread-safe.
class FakeNccl final : public NcclApi {
 public:
  struct Faults {
    // Of every rank, by number of the answer.
    int init_in_progress = 0;  // answers before a full gang is joined; -1: ever
    int call_in_progress = 0;  // answers before each call is accepted
    int lost_at_call = -1;     // from this call on every rank sees an error
    std::string init_error;
    bool abort_hangs = false;  // until ReleaseAborts
  };

  FakeNccl();
  ~FakeNccl() override;

  void set_faults(const Faults& faults);
  void ReleaseAborts();
  int aborts() const;  // that returned
  int destroyed() const;

  absl::StatusOr<std::string> NewId() override;
  NcclResult BeginInit(int ranks, const std::string& id, int rank,
                       NcclComm** comm) override;
  NcclResult AsyncState(NcclComm* comm) override;
  NcclResult AllGather(const float* send, float* receive, int64_t count,
                       NcclComm* comm, void* stream) override;
  NcclResult AllReduce(float* values, int64_t count, NcclComm* comm,
                       void* stream) override;
  NcclResult BroadcastBytes(char* bytes, int64_t count, NcclComm* comm,
                            void* stream) override;
  void Abort(NcclComm* comm) override;
  void Destroy(NcclComm* comm) override;

 private:
  friend class FakeDeviceQueue;
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

// The device of one rank. Thread-safe.
class FakeDeviceQueue final : public DeviceQueue {
 public:
  // Borrows `nccl`, whose lock and pump it shares.
  explicit FakeDeviceQueue(FakeNccl* nccl);
  ~FakeDeviceQueue() override;

  // Every later call fails with it.
  void FailWith(absl::Status status);
  // Whether everything queued has run.
  bool Idle();

  void* stream() override { return this; }
  absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(
      int64_t elements) override;
  absl::StatusOr<std::unique_ptr<DeviceMark>> Mark() override;
  absl::Status CopyIn(void* to, const void* from, int64_t bytes) override;
  absl::Status CopyOut(void* to, const void* from, int64_t bytes) override;
  absl::Status Pack(const ShardRows& shape, int rank, const float* rows,
                    float* packed) override;
  absl::Status Unpack(const ShardRows& shape, const float* packed,
                      float* rows) override;
  absl::Status SumPacked(const ShardRows& shape, const float* packed,
                         float* sum) override;
  absl::Status SumOwned(const ShardRows& shape, int rank, const float* rows,
                        float* sum) override;

 private:
  friend class FakeNccl;
  struct Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_FAKE_NCCL_H_
