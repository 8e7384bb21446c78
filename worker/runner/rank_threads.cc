#include "worker/runner/rank_threads.h"

#include <exception>
#include <new>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/error.h"

namespace dasm {
namespace {

// What the ranks of a process share about their end.
class Ending {
 public:
  void Fail(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    first_error_.Update(status);
    failed_ = true;
  }
  void SetDone() {
    absl::MutexLock lock(&mutex_);
    done_ = true;
  }
  absl::Status first_error() const {
    absl::MutexLock lock(&mutex_);
    return first_error_;
  }
  // Until all are done, or `grace` after the first error.
  void Watch(const RankWatchdog& watchdog) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Ending::Settled));
      if (mutex_.AwaitWithTimeout(absl::Condition(&done_), watchdog.grace)) {
        return;
      }
    }
    watchdog.on_hang(first_error());
  }

 private:
  bool Settled() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return done_ || failed_;
  }

  mutable absl::Mutex mutex_;
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<TaskOutcome> Guarded(
    const std::function<absl::StatusOr<TaskOutcome>()>& run) {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return WithFailureClass(
        absl::ResourceExhaustedError("the machine has no memory left"),
        FailureClass::kOomHost);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("uncaught: ", error.what()));
  }
}

absl::StatusOr<TaskOutcome> RunRanks(
    absl::Span<const std::unique_ptr<Collective>> ranks,
    const RankFunction& run, const RankWatchdog& watchdog) {
  Ending ending;
  const auto run_rank = [&](Collective* collective) {
    absl::StatusOr<TaskOutcome> outcome =
        Guarded([&] { return run(collective); });
    if (!outcome.ok()) {
      ending.Fail(outcome.status());
      collective->Abort(outcome.status());
    }
    return outcome;
  };
  std::thread watcher;
  if (watchdog.on_hang != nullptr) {
    watcher = std::thread([&] { ending.Watch(watchdog); });
  }
  std::vector<std::thread> others;
  for (const auto& rank : ranks.subspan(1)) {
    others.emplace_back(
        [&run_rank, &rank] { run_rank(rank.get()).status().IgnoreError(); });
  }
  absl::StatusOr<TaskOutcome> outcome = run_rank(ranks[0].get());
  for (std::thread& thread : others) thread.join();
  ending.SetDone();
  if (watcher.joinable()) watcher.join();
  if (const absl::Status error = ending.first_error(); !error.ok()) {
    return error;
  }
  return outcome;
}

}  // namespace dasm
