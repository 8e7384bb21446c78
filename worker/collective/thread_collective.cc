#include "worker/collective/thread_collective.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "worker/collective/shard_check.h"
#include "worker/collective/shard_sum.h"
#include "worker/collective/thread_meeting.h"

namespace dasm {
namespace {

class ThreadCollective final : public Collective {
 public:
  ThreadCollective(std::shared_ptr<ThreadMeeting> gang, int rank,
                   absl::Duration timeout)
      : gang_(std::move(gang)), rank_(rank), timeout_(timeout) {}

  // Peers that still wait for this rank, or ever will, wait in vain.
  ~ThreadCollective() override {
    gang_
        ->Fail(CollectiveError(
            absl::UnavailableError(absl::StrFormat("rank %d is gone", rank_))))
        .IgnoreError();
  }

  int rank() const override { return rank_; }
  int size() const override { return gang_->size(); }

  absl::Status Broadcast(absl::Span<char> bytes) override {
    DASM_RETURN_IF_ERROR(Enter({.operation = Operation::kBroadcast,
                                .shards = 1,
                                .length = static_cast<int64_t>(bytes.size()),
                                .bytes = bytes.data()}));
    if (rank_ != 0 && !bytes.empty()) {
      std::memcpy(bytes.data(), gang_->call(0).bytes, bytes.size());
    }
    return gang_->Leave(rank_);
  }

  absl::Status Barrier() override {
    DASM_RETURN_IF_ERROR(Enter({.operation = Operation::kBarrier}));
    return gang_->Leave(rank_);
  }

  void Abort(absl::Status why) override {
    gang_->Fail(AbortStatus(std::move(why))).IgnoreError();
  }

 private:
  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override {
    const int64_t length = static_cast<int64_t>(sum.size());
    DASM_RETURN_IF_ERROR(
        FailUnless(CheckSum(rows.size(), shards, length, first, size())));
    DASM_RETURN_IF_ERROR(Enter({.operation = Operation::kSumShards,
                                .shards = shards,
                                .length = length,
                                .first = first,
                                .rows = rows.data(),
                                .result = sum.data()}));
    const auto [begin, end] = Slice(length);
    SumShardRange(
        [&](int64_t s) {
          return gang_->call(OwnerOfShard(s, size(), first)).rows + s * length;
        },
        shards, begin, end, sum.data());
    for (int r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      std::copy(sum.data() + begin, sum.data() + end,
                gang_->call(r).result + begin);
    }
    return gang_->Leave(rank_);
  }

  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override {
    DASM_RETURN_IF_ERROR(
        FailUnless(CheckGather(rows.size(), shards, first, size())));
    const int64_t length = static_cast<int64_t>(rows.size()) / shards;
    DASM_RETURN_IF_ERROR(Enter({.operation = Operation::kGatherShards,
                                .shards = shards,
                                .length = length,
                                .first = first,
                                .result = rows.data()}));
    for (int64_t s = 0; s < shards; ++s) {
      const int owner = OwnerOfShard(s, size(), first);
      if (owner == rank_) continue;
      const float* row = gang_->call(owner).result + s * length;
      std::copy(row, row + length, rows.data() + s * length);
    }
    return gang_->Leave(rank_);
  }

  absl::Status Enter(const CollectiveCall& call) {
    return gang_->Enter(rank_, call, timeout_);
  }

  // A rank that made a wrong call will not come: its peers must not wait.
  absl::Status FailUnless(absl::Status status) {
    return status.ok() ? status : gang_->Fail(CollectiveError(status));
  }

  // This rank's share of `length` elements, in whole cache lines.
  std::pair<int64_t, int64_t> Slice(int64_t length) const {
    constexpr int64_t kLine = 16;
    const int64_t lines = (length + kLine - 1) / kLine;
    return {std::min(length, lines * rank_ / size() * kLine),
            std::min(length, lines * (rank_ + 1) / size() * kLine)};
  }

  const std::shared_ptr<ThreadMeeting> gang_;
  const int rank_;
  const absl::Duration timeout_;
};

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Collective>>> ThreadGang::Create(
    int ranks, absl::Duration timeout, Reduction) {
  if (ranks < 1 || ranks > 1024) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a gang of %d ranks; must be 1 .. 1024", ranks));
  }
  if (timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("the timeout of a gang is negative");
  }
  auto gang = std::make_shared<ThreadMeeting>(ranks, /*first_rank=*/0);
  std::vector<std::unique_ptr<Collective>> collectives;
  for (int r = 0; r < ranks; ++r) {
    collectives.push_back(std::make_unique<ThreadCollective>(gang, r, timeout));
  }
  return collectives;
}

}  // namespace dasm
