// Brings one rank's runner together with the others of its gang, through the
// coordinator.
#ifndef DASM_WORKER_AGENT_GANG_RENDEZVOUS_H_
#define DASM_WORKER_AGENT_GANG_RENDEZVOUS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "worker/agent/coordinator_link.h"

namespace dasm {

// Thread-safe; Try() from one thread. Borrows coordinator and clock.
class GangRendezvous {
 public:
  struct Options {
    std::string worker;
    std::string task;
    uint64_t fence = 0;
    int rank = 0;
    int ranks = 1;
    // From the first try to a complete gang.
    absl::Duration deadline = absl::InfiniteDuration();
  };
  enum class Result {
    kNotYet,    // try again at NextTry()
    kComplete,  // `ready` is for the runner
    kStale,     // the attempt was replaced
    kFailed,    // for good: `failure` has a failure class
  };
  struct Outcome {
    Result result = Result::kNotYet;
    worker::v1::GangReady ready;
    absl::Status failure;
  };

  GangRendezvous(Options options, CoordinatorLink* coordinator,
                 const Clock* clock)
      : options_(std::move(options)),
        coordinator_(coordinator),
        clock_(clock) {}

  // What the runner listens with. From now on there is something to try.
  void Bring(const worker::v1::GangMember& member);
  // Nothing is tried any more, and a call on its way ends.
  void Stop();
  // On the steady clock; infinite when there is nothing to try.
  absl::Duration NextTry() const;
  // Waits in the coordinator, at most as long as it holds the call, or until
  // Stop().
  Outcome Try();

 private:
  const Options options_;
  CoordinatorLink* const coordinator_;
  const Clock* const clock_;
  mutable absl::Mutex mutex_;
  std::optional<worker::v1::GangMember> member_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration next_try_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration until_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteDuration();
  std::shared_ptr<CoordinatorLink::JoinGangCall> call_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_GANG_RENDEZVOUS_H_
