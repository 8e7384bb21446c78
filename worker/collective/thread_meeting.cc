#include "worker/collective/thread_meeting.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/error.h"

namespace dasm {

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

std::string Describe(Operation operation, int64_t shards, int64_t length,
                     int first) {
  if (operation == Operation::kBarrier) return NameOf(operation);
  return absl::StrFormat(
      "%s of %d x %d%s", NameOf(operation), shards, length,
      first == 0 ? "" : absl::StrFormat(" by the ranks from %d on", first));
}

absl::Status CollectiveError(absl::Status status) {
  return WithFailureClass(std::move(status), FailureClass::kCollective);
}

std::string CallName(Operation operation, int64_t number) {
  return absl::StrFormat("%s #%d", NameOf(operation), number);
}

absl::Status DidNotCome(const std::vector<int>& ranks, const std::string& call,
                        absl::Duration timeout) {
  return CollectiveError(absl::DeadlineExceededError(absl::StrFormat(
      "rank %s did not come to %s within %s", absl::StrJoin(ranks, ", "), call,
      absl::FormatDuration(timeout))));
}

absl::Status DifferentCalls(int rank, const std::string& call, int other_rank,
                            const std::string& other_call) {
  return CollectiveError(absl::InternalError(
      absl::StrFormat("ranks made different calls: rank %d %s, rank %d %s",
                      rank, call, other_rank, other_call)));
}

ThreadMeeting::ThreadMeeting(int size, int first_rank)
    : size_(size),
      first_rank_(first_rank),
      arrived_(size, false),
      calls_(size) {}

absl::Status ThreadMeeting::Enter(int thread, const CollectiveCall& call,
                                  absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!failure_.ok()) return failure_;
  calls_[thread] = call;
  return Meet(thread, /*enters=*/true, timeout, lock);
}

absl::Status ThreadMeeting::Await(int thread) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (!failure_.ok()) return failure_;
  return Meet(thread, /*enters=*/false, absl::InfiniteDuration(), lock);
}

absl::Status ThreadMeeting::Leave(int thread) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (--inside_ == 0) changed_.notify_all();
  absl::Status status = failure_.ok() ? Meet(thread, /*enters=*/false,
                                             absl::InfiniteDuration(), lock)
                                      : failure_;
  if (!status.ok()) changed_.wait(lock, [&] { return inside_ == 0; });
  return status;
}

absl::Status ThreadMeeting::Fail(absl::Status why) {
  std::lock_guard<std::mutex> lock(mutex_);
  return FailLocked(std::move(why));
}

absl::Status ThreadMeeting::failure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

absl::Status ThreadMeeting::FailLocked(absl::Status why) {
  if (failure_.ok()) {
    failure_ = std::move(why);
    changed_.notify_all();
  }
  return failure_;
}

// Requires the lock and no failure.
absl::Status ThreadMeeting::Meet(int thread, bool enters,
                                 absl::Duration timeout,
                                 std::unique_lock<std::mutex>& lock) {
  arrived_[thread] = true;
  if (std::find(arrived_.begin(), arrived_.end(), false) == arrived_.end()) {
    if (absl::Status same = CheckSameCall(); !same.ok()) {
      return FailLocked(std::move(same));
    }
    std::fill(arrived_.begin(), arrived_.end(), false);
    if (enters) {
      inside_ = size_;
      ++entered_;
    }
    ++meetings_;
    changed_.notify_all();
    return absl::OkStatus();
  }
  const int64_t meeting = meetings_;
  const auto over = [&] { return meetings_ != meeting || !failure_.ok(); };
  if (timeout == absl::ZeroDuration() || timeout == absl::InfiniteDuration()) {
    changed_.wait(lock, over);
  } else if (!changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                                over)) {
    return FailLocked(Deadline(timeout));
  }
  // A meeting that took place counts, even if the gang failed after it.
  return meetings_ != meeting ? absl::OkStatus() : failure_;
}

absl::Status ThreadMeeting::CheckSameCall() const {
  const CollectiveCall& first = calls_[0];
  for (int t = 1; t < size_; ++t) {
    const CollectiveCall& other = calls_[t];
    if (first.operation == other.operation && first.shards == other.shards &&
        first.length == other.length && first.first == other.first) {
      continue;
    }
    return DifferentCalls(
        first_rank_,
        Describe(first.operation, first.shards, first.length, first.first),
        first_rank_ + t,
        Describe(other.operation, other.shards, other.length, other.first));
  }
  return absl::OkStatus();
}

absl::Status ThreadMeeting::Deadline(absl::Duration timeout) const {
  std::vector<int> missing;
  Operation operation = Operation::kBarrier;
  for (int t = 0; t < size_; ++t) {
    if (!arrived_[t]) {
      missing.push_back(first_rank_ + t);
    } else {
      operation = calls_[t].operation;
    }
  }
  return DidNotCome(missing, CallName(operation, entered_), timeout);
}

}  // namespace dasm
