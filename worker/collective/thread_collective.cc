#include "worker/collective/thread_collective.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/collective/shard_check.h"
#include "worker/collective/shard_sum.h"

namespace dasm {
namespace {

enum class Operation { kSumShards, kGatherShards, kBroadcast, kBarrier };

const char* NameOf(Operation operation) {
  switch (operation) {
    case Operation::kSumShards:
      return "SumShards";
    case Operation::kGatherShards:
      return "GatherShards";
    case Operation::kBroadcast:
      return "Broadcast";
    case Operation::kBarrier:
      return "Barrier";
  }
  return "";
}

// What a rank brings to a meeting.
struct Call {
  Operation operation = Operation::kBarrier;
  int64_t shards = 0;
  int64_t length = 0;
  const float* rows = nullptr;
  float* result = nullptr;
  char* bytes = nullptr;
};

absl::Status CollectiveError(absl::Status status) {
  return WithFailureClass(std::move(status), FailureClass::kCollective);
}

// What the ranks share.
//
// An operation is two meetings. Between them every rank is "inside": it may
// read and write the others' buffers. A rank that leaves the second meeting
// with an error therefore first waits until nobody is inside; that wait needs
// no deadline, since inside a rank only computes.
//
// std::mutex rather than absl::Mutex: ThreadSanitizer understands pthreads,
// while Debian's Abseil is not instrumented.
class Gang {
 public:
  Gang(int size, absl::Duration timeout)
      : size_(size), timeout_(timeout), arrived_(size, false), calls_(size) {}

  int size() const { return size_; }
  // Valid while inside.
  const Call& call(int rank) const { return calls_[rank]; }

  absl::Status Enter(int rank, const Call& call) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!failure_.ok()) return failure_;
    calls_[rank] = call;
    return Meet(rank, /*enters=*/call.operation != Operation::kBarrier, lock);
  }

  absl::Status Leave(int rank) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (--inside_ == 0) changed_.notify_all();
    absl::Status status =
        failure_.ok() ? Meet(rank, /*enters=*/false, lock) : failure_;
    if (!status.ok()) changed_.wait(lock, [&] { return inside_ == 0; });
    return status;
  }

  // The first failure is that of every rank.
  absl::Status Fail(absl::Status why) {
    std::lock_guard<std::mutex> lock(mutex_);
    return FailLocked(std::move(why));
  }

 private:
  absl::Status FailLocked(absl::Status why) {
    if (failure_.ok()) {
      failure_ = std::move(why);
      changed_.notify_all();
    }
    return failure_;
  }

  // Requires the lock and no failure.
  absl::Status Meet(int rank, bool enters, std::unique_lock<std::mutex>& lock) {
    arrived_[rank] = true;
    if (std::find(arrived_.begin(), arrived_.end(), false) == arrived_.end()) {
      if (absl::Status same = CheckSameCall(); !same.ok()) {
        return FailLocked(std::move(same));
      }
      std::fill(arrived_.begin(), arrived_.end(), false);
      if (enters) inside_ = size_;
      ++meetings_;
      changed_.notify_all();
      return absl::OkStatus();
    }
    const int64_t meeting = meetings_;
    const auto over = [&] { return meetings_ != meeting || !failure_.ok(); };
    if (timeout_ == absl::ZeroDuration() ||
        timeout_ == absl::InfiniteDuration()) {
      changed_.wait(lock, over);
    } else if (!changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout_),
                                  over)) {
      return FailLocked(Deadline(rank));
    }
    // A meeting that took place counts, even if the gang failed after it.
    return meetings_ != meeting ? absl::OkStatus() : failure_;
  }

  absl::Status CheckSameCall() const {
    for (int r = 1; r < size_; ++r) {
      const Call& first = calls_[0];
      const Call& other = calls_[r];
      if (first.operation == other.operation && first.shards == other.shards &&
          first.length == other.length) {
        continue;
      }
      return CollectiveError(absl::InternalError(absl::StrFormat(
          "ranks made different calls: rank 0 %s of %d x %d, rank %d %s of "
          "%d x %d",
          NameOf(first.operation), first.shards, first.length, r,
          NameOf(other.operation), other.shards, other.length)));
    }
    return absl::OkStatus();
  }

  absl::Status Deadline(int rank) const {
    std::vector<int> missing;
    for (int r = 0; r < size_; ++r) {
      if (!arrived_[r]) missing.push_back(r);
    }
    return CollectiveError(absl::DeadlineExceededError(absl::StrFormat(
        "rank %d waited %s in %s for rank %s", rank,
        absl::FormatDuration(timeout_), NameOf(calls_[rank].operation),
        absl::StrJoin(missing, ", "))));
  }

  const int size_;
  const absl::Duration timeout_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_, but for calls_, which nobody writes while anybody is
  // inside.
  absl::Status failure_;
  std::vector<bool> arrived_;
  int64_t meetings_ = 0;
  int inside_ = 0;
  std::vector<Call> calls_;
};

class ThreadCollective final : public Collective {
 public:
  ThreadCollective(std::shared_ptr<Gang> gang, int rank)
      : gang_(std::move(gang)), rank_(rank) {}

  // Peers that still wait for this rank, or ever will, wait in vain.
  ~ThreadCollective() override {
    gang_
        ->Fail(CollectiveError(
            absl::UnavailableError(absl::StrFormat("rank %d is gone", rank_))))
        .IgnoreError();
  }

  int rank() const override { return rank_; }
  int size() const override { return gang_->size(); }

  absl::Status SumShards(absl::Span<const float> rows, int64_t shards,
                         absl::Span<float> sum) override {
    const int64_t length = static_cast<int64_t>(sum.size());
    DASM_RETURN_IF_ERROR(
        FailUnless(CheckSumSizes(rows.size(), shards, length)));
    DASM_RETURN_IF_ERROR(
        gang_->Enter(rank_, {.operation = Operation::kSumShards,
                             .shards = shards,
                             .length = length,
                             .rows = rows.data(),
                             .result = sum.data()}));
    const auto [begin, end] = Slice(length);
    SumShardRange(
        [&](int64_t s) {
          return gang_->call(static_cast<int>(s % size())).rows + s * length;
        },
        shards, begin, end, sum.data());
    for (int r = 0; r < size(); ++r) {
      if (r == rank_) continue;
      std::copy(sum.data() + begin, sum.data() + end,
                gang_->call(r).result + begin);
    }
    return gang_->Leave(rank_);
  }

  absl::Status GatherShards(absl::Span<float> rows, int64_t shards) override {
    DASM_RETURN_IF_ERROR(FailUnless(CheckGatherSizes(rows.size(), shards)));
    const int64_t length = static_cast<int64_t>(rows.size()) / shards;
    DASM_RETURN_IF_ERROR(
        gang_->Enter(rank_, {.operation = Operation::kGatherShards,
                             .shards = shards,
                             .length = length,
                             .result = rows.data()}));
    for (int64_t s = 0; s < shards; ++s) {
      const int owner = static_cast<int>(s % size());
      if (owner == rank_) continue;
      const float* row = gang_->call(owner).result + s * length;
      std::copy(row, row + length, rows.data() + s * length);
    }
    return gang_->Leave(rank_);
  }

  absl::Status Broadcast(absl::Span<char> bytes) override {
    DASM_RETURN_IF_ERROR(
        gang_->Enter(rank_, {.operation = Operation::kBroadcast,
                             .shards = 1,
                             .length = static_cast<int64_t>(bytes.size()),
                             .bytes = bytes.data()}));
    if (rank_ != 0 && !bytes.empty()) {
      std::memcpy(bytes.data(), gang_->call(0).bytes, bytes.size());
    }
    return gang_->Leave(rank_);
  }

  absl::Status Barrier() override {
    return gang_->Enter(rank_, {.operation = Operation::kBarrier});
  }

  void Abort(absl::Status why) override {
    gang_->Fail(AbortStatus(std::move(why))).IgnoreError();
  }

 private:
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

  const std::shared_ptr<Gang> gang_;
  const int rank_;
};

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Collective>>> ThreadGang::Create(
    int ranks, absl::Duration timeout) {
  if (ranks < 1 || ranks > 1024) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a gang of %d ranks; must be 1 .. 1024", ranks));
  }
  if (timeout < absl::ZeroDuration()) {
    return absl::InvalidArgumentError("the timeout of a gang is negative");
  }
  auto gang = std::make_shared<Gang>(ranks, timeout);
  std::vector<std::unique_ptr<Collective>> collectives;
  for (int r = 0; r < ranks; ++r) {
    collectives.push_back(std::make_unique<ThreadCollective>(gang, r));
  }
  return collectives;
}

}  // namespace dasm
