#include "worker/collective/single_process_collective.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/collective/shard_check.h"
#include "worker/collective/shard_sum.h"

namespace dasm {

absl::Status SingleProcessCollective::Failure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

absl::Status SingleProcessCollective::DoSumShards(absl::Span<const float> rows,
                                                  int64_t shards,
                                                  absl::Span<float> sum,
                                                  int first) {
  DASM_RETURN_IF_ERROR(Failure());
  DASM_RETURN_IF_ERROR(CheckSum(rows.size(), shards, sum.size(), first, 1));
  const int64_t length = static_cast<int64_t>(sum.size());
  SumShardRange([&](int64_t s) { return rows.data() + s * length; }, shards, 0,
                length, sum.data());
  return absl::OkStatus();
}

absl::Status SingleProcessCollective::DoGatherShards(absl::Span<float> rows,
                                                     int64_t shards,
                                                     int first) {
  DASM_RETURN_IF_ERROR(Failure());
  return CheckGather(rows.size(), shards, first, 1);
}

absl::Status SingleProcessCollective::Broadcast(absl::Span<char> bytes) {
  return Failure();
}

absl::Status SingleProcessCollective::Barrier() { return Failure(); }

void SingleProcessCollective::Abort(absl::Status why) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (failure_.ok()) failure_ = AbortStatus(std::move(why));
}

}  // namespace dasm
