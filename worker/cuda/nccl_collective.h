// The Collective of a gang of devices, one process a rank, over NCCL.
//
//   ordered  an all-gather of the rows, then one kernel that adds them in shard
//            order: the bits of every other implementation
//   fast     this rank's rows in shard order, then the library's all-reduce
// A sum of one row, which is rank 0's, is the library's broadcast.
//
// Memory: kDevice takes and gives device memory and only queues; kHost copies
// in and out and waits, for loops whose rows are on the host.
//
// Nothing hangs: every call has a deadline, max(least_deadline, 20 x the median
// of this gang's calls), counted from when the call before it was done. A
// watchdog looks at the communicator and at the oldest call. On the first
// failure - a peer is gone, a deadline, Abort() - the communicator is aborted
// on a helper thread, which ends kernels that wait for a peer; if that does not
// return within abort_deadline, `on_stuck` is called and must end the process.
//
// Errors: beside those of collective.h, all with failure class COLLECTIVE and
//   this rank: UNAVAILABLE (NCCL reports a lost peer), DEADLINE_EXCEEDED.
//   After a failure values that were queued are garbage: who reads device
//   memory asks Check() afterwards and before it believes them.
// Threads: as Collective; Abort and Check from any.
#ifndef DASM_WORKER_CUDA_NCCL_COLLECTIVE_H_
#define DASM_WORKER_CUDA_NCCL_COLLECTIVE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "worker/collective/collective.h"
#include "worker/cuda/device_queue.h"
#include "worker/cuda/nccl_api.h"

namespace dasm {

class NcclCollective final : public Collective {
 public:
  struct Options {
    int rank = 0;
    int ranks = 1;
    std::string id;  // NcclApi::NewId of rank 0
    Memory memory = Memory::kHost;
    bool ordered = true;
    absl::Duration join_deadline = absl::Seconds(60);
    absl::Duration least_deadline = absl::Seconds(60);
    absl::Duration abort_deadline = absl::Seconds(10);
    // How often the watchdog looks.
    absl::Duration period = absl::Milliseconds(20);
    // Ends the process; returns only in tests.
    std::function<void(const absl::Status&)> on_stuck;
  };

  // Joins the gang. Borrows all but `options`.
  //   INVALID_ARGUMENT   ranks, rank or id make no sense
  //   DEADLINE_EXCEEDED  not all ranks came
  //   UNAVAILABLE        NCCL could not join, with what it says
  static absl::StatusOr<std::unique_ptr<NcclCollective>> Join(
      const Options& options, NcclApi* nccl, DeviceQueue* queue,
      const Clock* clock);
  // Waits for queued calls (with their deadline) and leaves.
  ~NcclCollective() override;

  int rank() const override { return options_.rank; }
  int size() const override { return options_.ranks; }
  Memory memory() const override { return options_.memory; }
  absl::Status Broadcast(absl::Span<char> bytes) override;
  absl::Status Barrier() override;
  void Abort(absl::Status why) override;
  // What the gang failed with, or OK.
  absl::Status Check() const;

 private:
  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override;
  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override;
  struct Pending {
    std::string what;
    std::unique_ptr<DeviceMark> mark;
    uint64_t number = 0;
  };

  NcclCollective(const Options& options, NcclApi* nccl, DeviceQueue* queue,
                 const Clock* clock);
  absl::Status AwaitJoined();
  void StartWatchdog();

  // Waits while NCCL says that the call is in progress.
  absl::Status Settle(const char* what, NcclResult result);
  // Puts the calls queued so far under the watchdog's eye.
  absl::StatusOr<uint64_t> Watch(const char* what);
  absl::Status AwaitDone(uint64_t number);
  // SumShards and GatherShards of device memory.
  absl::Status QueueSum(const ShardRows& shape, int first, const float* rows,
                        float* sum);
  // Buffers of a queued gather: alive until what reads them is queued too.
  struct PackedRows {
    std::unique_ptr<DeviceBuffer> own;
    std::unique_ptr<DeviceBuffer> all;  // every rank's packed rows
    const float* rows = nullptr;        // in `all`, from the first owner's on
  };
  // `shape.ranks` counts from rank `first`; those before it send what they
  // have, which nobody reads.
  absl::StatusOr<PackedRows> QueuePackedRows(const char* what,
                                             const ShardRows& shape, int first,
                                             const float* rows);
  absl::Status QueueGather(const ShardRows& shape, int first, float* rows);

  void RunWatchdog();
  // One look at everything; called by the watchdog and by who waits.
  void Look();
  void Fail(absl::Status why);
  // Gives comm_ back on a thread of its own; mutex_ held.
  void Release(void (NcclApi::*how)(NcclComm*));
  absl::Duration Deadline() const;  // mutex_ held
  absl::Status Named(absl::Status status, const std::string& what) const;

  const Options options_;
  NcclApi* const nccl_;
  DeviceQueue* const queue_;
  const Clock* const clock_;

  // std::mutex, for the reason given in thread_collective.cc; and in a plug-in
  // Abseil's would be another copy than the host's.
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  NcclComm* comm_ = nullptr;  // null once aborted
  absl::Status failure_;
  std::deque<Pending> pending_;
  uint64_t queued_ = 0;
  uint64_t done_ = 0;
  absl::Duration front_since_;
  std::vector<double> seconds_;  // of the last calls, a ring
  size_t next_second_ = 0;
  // Whether the communicator is being given back, or was.
  bool releasing_ = false;
  bool released_ = false;
  bool stuck_told_ = false;
  absl::Duration releasing_since_;
  bool leaving_ = false;
  std::thread watchdog_;
  std::thread releaser_;
};

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_NCCL_COLLECTIVE_H_
