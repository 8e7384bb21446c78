// A few threads for the blocking part of streams (disk, SQLite), so that the
// threads of gRPC's callback API never wait.
#ifndef DASM_SERVER_SERVICE_WORK_POOL_H_
#define DASM_SERVER_SERVICE_WORK_POOL_H_

#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace dasm {

// Thread-safe.
class WorkPool {
 public:
  explicit WorkPool(int threads);
  // Finishes what is queued.
  ~WorkPool();
  void Run(absl::AnyInvocable<void()> work);

 private:
  void Loop();

  absl::Mutex mutex_;
  std::deque<absl::AnyInvocable<void()>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_WORK_POOL_H_
