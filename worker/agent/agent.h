// The worker's loop: tells the coordinator what this machine has and runs, and
// makes true what it answers. Level-triggered: each answer holds everything
// that should run here, so a lost message or a restart needs no special case.
//
// Starts assignments it does not have, ends attempts that are no longer
// assigned or were superseded by a newer fence, and never ends one because it
// was cut off. Calls again at once when its own state changes.
// Threads: Run() on one thread; Drain() and Abandon() from any.
#ifndef DASM_WORKER_AGENT_AGENT_H_
#define DASM_WORKER_AGENT_AGENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "worker/agent/attempt.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/device_inventory.h"
#include "worker/agent/device_slots.h"

namespace dasm {

class Agent {
 public:
  struct Options {
    Attempt::Options attempt;
    std::string incarnation;  // random per process
    std::string version;
    DeviceInventory inventory;
    // From Drain() to giving up on what still runs or cannot be reported.
    absl::Duration drain_deadline = absl::Seconds(90);
  };

  // `on_registered` is called once, after the first answer.
  Agent(Options options, const Attempt::Seams& seams,
        std::function<void()> on_registered);
  ~Agent();

  // Until drained or abandoned (OK), or until the coordinator refuses this
  // worker for good: FAILED_PRECONDITION (PROTOCOL_MISMATCH naming the side to
  // upgrade), INVALID_ARGUMENT.
  absl::Status Run();
  // Takes nothing new, lets runners write a checkpoint and end, then returns
  // from Run.
  void Drain();
  // Ends the runners at once, then returns from Run.
  void Abandon();
  // Whether the coordinator answered the last call.
  bool connected() const;

 private:
  using TaskRank = std::pair<std::string, int>;

  // Wakes the loop: something changed that the coordinator should know.
  void Wake();
  bool StepAttempts();
  worker::v1::SynchronizeRequest MakeRequest() const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Apply(worker::v1::SynchronizeResponse response);
  // At most `longest`, shorter when woken.
  void Pause(absl::Duration longest);
  void Farewell();
  void RemoveForeignFolders() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const Attempt::Seams seams_;
  const std::function<void()> on_registered_;

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  bool dirty_ ABSL_GUARDED_BY(mutex_) = false;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  bool registered_ ABSL_GUARDED_BY(mutex_) = false;
  bool connected_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration drain_until_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<CoordinatorLink::SynchronizeCall> call_
      ABSL_GUARDED_BY(mutex_);
  worker::v1::SynchronizeResponse desired_ ABSL_GUARDED_BY(mutex_);
  // A rank of a task has at most one attempt here; a gang may have several of
  // its ranks here.
  std::map<TaskRank, std::unique_ptr<Attempt>> attempts_
      ABSL_GUARDED_BY(mutex_);
  // Of the attempts above.
  DeviceSlots slots_ ABSL_GUARDED_BY(mutex_);
  // Fences of attempts that ended here and that an answer on its way may still
  // name; forgotten once an answer does not.
  std::map<TaskRank, uint64_t> done_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_AGENT_H_
