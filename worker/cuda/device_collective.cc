#include "worker/cuda/device_collective.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/collective/shard_check.h"

namespace dasm {

absl::Status DeviceCollective::Failure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

absl::Status DeviceCollective::DoSumShards(absl::Span<const float> rows,
                                           int64_t shards,
                                           absl::Span<float> sum, int first) {
  DASM_RETURN_IF_ERROR(Failure());
  const int64_t length = static_cast<int64_t>(sum.size());
  DASM_RETURN_IF_ERROR(
      CheckSum(static_cast<int64_t>(rows.size()), shards, length, first, 1));
  if (length == 0) return absl::OkStatus();
  return queue_->SumPacked({shards, length, 1}, rows.data(), sum.data());
}

absl::Status DeviceCollective::DoGatherShards(absl::Span<float> rows,
                                              int64_t shards, int first) {
  DASM_RETURN_IF_ERROR(Failure());
  return CheckGather(static_cast<int64_t>(rows.size()), shards, first, 1);
}

absl::Status DeviceCollective::Broadcast(absl::Span<char> bytes) {
  return Failure();
}

absl::Status DeviceCollective::Barrier() { return Failure(); }

void DeviceCollective::Abort(absl::Status why) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (failure_.ok()) failure_ = AbortStatus(std::move(why));
}

}  // namespace dasm
