// Where threads of one process meet for the calls of a collective: each says
// what it calls, and when all have said the same they may read and write each
// other's buffers until all have left.
//
//   Enter   all are here, with the same call; now everyone is inside
//   Await   (optional) all inside have come this far
//   Leave   all are done with the others' buffers
//
// Errors have failure class COLLECTIVE; the first failure is that of everyone:
//   DEADLINE_EXCEEDED  names the call and the ranks that did not come
//   INTERNAL           the threads made different calls
// Threads: thread t of `size` calls with its own t; Fail() from any.
#ifndef DASM_WORKER_COLLECTIVE_THREAD_MEETING_H_
#define DASM_WORKER_COLLECTIVE_THREAD_MEETING_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace dasm {

enum class Operation { kSumShards, kGatherShards, kBroadcast, kBarrier };
const char* NameOf(Operation operation);

// What a rank brings to a call.
struct CollectiveCall {
  Operation operation = Operation::kBarrier;
  int64_t shards = 0;
  int64_t length = 0;
  int first = 0;  // rank that owns shards
  const float* rows = nullptr;
  float* result = nullptr;
  char* bytes = nullptr;
};

// "SumShards of 4 x 40", "SumShards of 4 x 40 by the ranks from 1 on".
std::string Describe(Operation operation, int64_t shards, int64_t length,
                     int first);
// "SumShards #17"; calls count from 0.
std::string CallName(Operation operation, int64_t number);
// "rank 2 did not come to SumShards #17 within 5s".
absl::Status DidNotCome(const std::vector<int>& ranks, const std::string& call,
                        absl::Duration timeout);
// "ranks made different calls: rank 0 SumShards of 4 x 40, rank 1 Barrier".
absl::Status DifferentCalls(int rank, const std::string& call, int other_rank,
                            const std::string& other_call);
// `status` with failure class COLLECTIVE.
absl::Status CollectiveError(absl::Status status);

// std::mutex rather than absl::Mutex: ThreadSanitizer understands pthreads,
// while Debian's Abseil is not instrumented.
class ThreadMeeting {
 public:
  // `first_rank`: of thread 0, for messages.
  ThreadMeeting(int size, int first_rank);

  int size() const { return size_; }
  // Valid while inside.
  const CollectiveCall& call(int thread) const { return calls_[thread]; }
  // Calls entered so far; valid while inside.
  int64_t entered() const { return entered_; }

  // `timeout`: how long to wait for the others; zero and infinite wait for
  // ever.
  absl::Status Enter(int thread, const CollectiveCall& call,
                     absl::Duration timeout);
  // Only inside; still inside after an error.
  absl::Status Await(int thread);
  // To be called once after each Enter() that was OK. An error is returned only
  // when nobody is inside any more: that wait has no deadline, since whoever is
  // inside computes or has its own.
  absl::Status Leave(int thread);

  // The first failure is that of everyone and is returned.
  absl::Status Fail(absl::Status why);
  absl::Status failure() const;

 private:
  absl::Status FailLocked(absl::Status why);
  absl::Status Meet(int thread, bool enters, absl::Duration timeout,
                    std::unique_lock<std::mutex>& lock);
  absl::Status CheckSameCall() const;
  absl::Status Deadline(absl::Duration timeout) const;

  const int size_;
  const int first_rank_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_, but for calls_ and entered_, which nobody writes while
  // anybody is inside.
  absl::Status failure_;
  std::vector<bool> arrived_;
  int64_t meetings_ = 0;
  int64_t entered_ = 0;
  int inside_ = 0;
  std::vector<CollectiveCall> calls_;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_THREAD_MEETING_H_
