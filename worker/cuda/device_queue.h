// What a collective needs of a device, as an interface: memory, three copies of
// rows, and to know when queued work is done. Everything but Await is queued on
// the calling thread's current stream and runs in order.
//
// Errors: of the device, INTERNAL with failure class DEVICE_FAULT, or
//   RESOURCE_EXHAUSTED with OOM_DEVICE.
// Threads: thread-safe.
#ifndef DASM_WORKER_CUDA_DEVICE_QUEUE_H_
#define DASM_WORKER_CUDA_DEVICE_QUEUE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dasm {

// Device memory; freed in stream order: work that was queued before may still
// use it.
class DeviceBuffer {
 public:
  virtual ~DeviceBuffer() = default;
  virtual float* data() = 0;
};

// A mark behind everything that was queued before it.
class DeviceMark {
 public:
  virtual ~DeviceMark() = default;
  // Whether the work before it is done. Never blocks.
  virtual absl::StatusOr<bool> Passed() = 0;
};

// Rows of a gang's shards: shard s of [shards, length] belongs to rank
// s mod ranks. Packed, a rank's rows lie one behind the other, padded to
// ceil(shards / ranks).
struct ShardRows {
  int64_t shards = 0;
  int64_t length = 0;
  int ranks = 1;
  int64_t per_rank() const { return (shards + ranks - 1) / ranks; }
  int64_t packed_elements() const { return per_rank() * length; }
};

class DeviceQueue {
 public:
  virtual ~DeviceQueue() = default;
  // The current stream, a cudaStream_t.
  virtual void* stream() = 0;
  // At least `elements` floats, aligned as the device likes; uninitialised.
  virtual absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(
      int64_t elements) = 0;
  virtual absl::StatusOr<std::unique_ptr<DeviceMark>> Mark() = 0;

  // From pageable host memory, which may be reused at once.
  virtual absl::Status CopyIn(void* to, const void* from, int64_t bytes) = 0;
  // To host memory. Waits for everything queued before it, without a deadline:
  // wait for a mark first.
  virtual absl::Status CopyOut(void* to, const void* from, int64_t bytes) = 0;

  // This rank's rows of [shards, length] into [per_rank, length].
  virtual absl::Status Pack(const ShardRows& shape, int rank, const float* rows,
                            float* packed) = 0;
  // [ranks, per_rank, length] into the [shards, length] that Pack came from.
  virtual absl::Status Unpack(const ShardRows& shape, const float* packed,
                              float* rows) = 0;
  // sum [length] = shard 0 + shard 1 + ... in that order, of packed rows.
  virtual absl::Status SumPacked(const ShardRows& shape, const float* packed,
                                 float* sum) = 0;
  // The same of this rank's rows alone, in place of all; zeros where it has
  // none.
  virtual absl::Status SumOwned(const ShardRows& shape, int rank,
                                const float* rows, float* sum) = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_DEVICE_QUEUE_H_
