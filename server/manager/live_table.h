// The jobs that have not ended, their tasks, and the actions those tasks are
// bound to: the coordinator's working memory and the only place that changes
// their states, each by the transition tables of server/job/state.h.
//
// Every change is noted in a Changes object, from which ToTransaction makes one
// store transaction with the records as they are now and the events in order.
// The table does no input or output; its owner commits the transaction.
//
// Threads: not thread-safe; the job manager's lock guards it. Pointers to
//   entries are valid until Evict or the next insertion of the same kind
//   removes them; callers do not keep them across an unlock.
#ifndef DASM_SERVER_MANAGER_LIVE_TABLE_H_
#define DASM_SERVER_MANAGER_LIVE_TABLE_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "server/job/records.h"
#include "server/manager/live_records.h"
#include "server/store/job_store.h"

namespace dasm {

// What the cache said when a task was bound to its action.
enum class CacheAnswer { kMiss, kHit, kJoined, kIncomplete };

class LiveTable {
 public:
  LiveTable(const Clock* clock, std::string tool_version)
      : clock_(clock), tool_version_(std::move(tool_version)) {}

  LiveJob* FindJob(const std::string& id);
  LiveAction* FindAction(const std::string& key);
  const std::map<std::string, LiveJob>& jobs() const { return jobs_; }
  const std::map<std::string, LiveAction>& actions() const { return actions_; }
  // Keys of the actions that are PENDING.
  const std::set<std::string>& pending() const { return pending_; }
  // Keys of the actions that are to be repaired.
  const std::set<std::string>& repairs() const { return repairs_; }
  // Keys of the actions with a running attempt on `worker`.
  std::set<std::string> RunningOn(const std::string& worker) const;
  // Workers that running attempts are placed on.
  std::vector<std::string> PlacedWorkers() const;
  // Grows with every eviction: what was read from the store before may have
  // been changed since.
  uint64_t evictions() const { return evictions_; }
  void Clear();

  // An action as the store has it; ignored when it is in the table.
  void AddAction(ActionRecord record);
  // A job as the store has it. The actions of its bound tasks must be in the
  // table; where task and action disagree (an unclean end), the task follows.
  void AddJob(JobRecord record, std::vector<TaskRecord> tasks,
              Changes* changes);
  void ResolveClass(LiveJob* job, const std::string& numerics_class,
                    Changes* changes);

  // The WAITING tasks whose inputs are all known, in jobs whose class is.
  std::vector<TaskKey> Bindable();
  // The action that a bindable task asks for, as if it were new. INTERNAL when
  // a parent has no output of the name.
  absl::StatusOr<ActionRecord> ActionOf(const TaskKey& key);
  // Binds a task to `action` (or to the one of its key in the table).
  // `complete`: every blob of its result is present.
  CacheAnswer Bind(const TaskKey& key, ActionRecord action, bool complete,
                   Changes* changes);

  // A live job's task waits for it, or it is to be repaired. One that runs and
  // is not wanted is *released*: its worker is told to end it, but a result
  // that comes in time is taken.
  bool IsWanted(const LiveAction& action) const;
  int PriorityOf(const LiveAction& action) const;
  // The longest chain of tasks that waits for it in any of its jobs.
  int ChainOf(const LiveAction& action) const;
  // Creation time of the oldest job that wants it.
  absl::Time OldestClaim(const LiveAction& action) const;

  // A new attempt on `workers` (by rank, not empty), with the next fence.
  void Place(LiveAction* action, std::vector<std::string> workers,
             Changes* changes);
  void Succeed(LiveAction* action, std::map<std::string, OutputRecord> outputs,
               std::string summary_json, double seconds, Changes* changes);
  struct AttemptEnd {
    FailureClass failure = FailureClass::kInternal;
    std::string message;
    std::string worker;  // whose fault it was; empty: nobody's
    // Memory of one of its slots, for naming the micro-batch that fits; 0: not
    // known.
    int64_t slot_memory_bytes = 0;
  };
  // What a rank of attempt `fence` took at most. Of an attempt older than the
  // newest that told, or of no rank: ignored.
  void NotePeak(LiveAction* action, uint64_t fence, int rank,
                const PeakMemoryRecord& peak, Changes* changes);
  // The running attempt ended, on all of its ranks, without a result: again
  // within the budget of the failure, else the action and the jobs that want it
  // fail. Out of memory: tasks that ask for it are planned anew instead, with
  // the micro-batch that fits.
  void EndAttempt(LiveAction* action, AttemptEnd end, Changes* changes);
  void AddCheckpoint(LiveAction* action, CheckpointRecord checkpoint,
                     Changes* changes);
  // A checkpoint whose blob is bad.
  void DropCheckpoint(LiveAction* action, const std::string& digest,
                      Changes* changes);
  // A blob of the result is missing or bad: run again.
  void Repair(LiveAction* action, Changes* changes);
  // Gives the result up: whoever asks for it next has it made again. Of a
  // SUCCEEDED action that no task is bound to.
  void Prune(LiveAction* action, Changes* changes);
  void Cancel(LiveJob* job, const std::string& message, Changes* changes);
  void Fail(LiveJob* job, FailureRecord failure, Changes* changes);

  // The records that `changes` names, as they are now. Counts the actions as
  // uncommitted; Committed undoes that.
  Transaction ToTransaction(const Changes& changes);
  void Committed(const Changes& changes, bool durable);
  // Drops ended jobs and the actions that nobody needs, once durable.
  void Evict();

 private:
  void SetState(LiveJob* job, JobState state, const std::string& message,
                Changes* changes);
  void SetState(LiveJob* job, TaskRecord* task, TaskState state,
                Changes* changes);
  void SetState(LiveAction* action, ActionState state, Changes* changes);
  void Event(LiveJob* job, std::string_view type, const TaskRecord* task,
             const std::string& message, Changes* changes);
  void Touch(LiveJob* job, Changes* changes);
  void Follow(LiveJob* job, TaskRecord* task, LiveAction* action,
              Changes* changes);
  // Gives the task an action of its own with that micro-batch.
  void Replan(LiveJob* job, TaskRecord* task, int micro_batch,
              Changes* changes);
  void CompleteTask(LiveJob* job, TaskRecord* task, bool cached,
                    Changes* changes);
  void FinishIfDone(LiveJob* job, Changes* changes);
  // Tells the workers of a running action that it is no longer, or again,
  // wanted.
  void Reconsider(const std::string& action_key, Changes* changes);
  void ReleaseTasks(LiveJob* job, Changes* changes);
  void ClearPlacement(LiveAction* action, Changes* changes);
  std::map<TaskKey, TaskRecord*> LiveUsers(const LiveAction& action);

  const Clock* const clock_;
  const std::string tool_version_;
  std::map<std::string, LiveJob> jobs_;
  std::map<std::string, LiveAction> actions_;
  std::set<std::string> pending_;
  std::set<std::string> repairs_;
  std::map<std::string, std::set<std::string>> running_on_;
  std::set<std::string> recheck_;     // jobs that may have bindable tasks
  std::set<std::string> ended_jobs_;  // to evict, with transactions under way
  std::map<std::string, int> uncommitted_jobs_;
  std::set<std::string> maybe_unused_;  // actions to look at in Evict
  uint64_t evictions_ = 0;
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_LIVE_TABLE_H_
