// The coordinator's brain: accepts jobs, binds their tasks to actions, places
// actions on workers, takes results, and tells watchers. It decides; the
// JobStore makes it durable.
//
// A change is computed in memory under one lock and queued to the store in that
// order; whatever leaves the process because of it (an answer, an assignment, a
// notice) leaves after its commit. A commit that fails ends the trust in the
// memory: calls are answered with UNAVAILABLE until everything was read again
// from the store. New jobs are the exception to the order: they are committed
// first and enter the memory afterwards, and while they are queued only their
// names are kept, so that a long queue costs no memory.
//
// Threads: thread-safe. Start() runs Step() on a thread of its own, at once
//   when there is something to do; tests call Step() themselves. Methods block
//   for the store's fsync, but for Synchronize, which answers through its
//   callback.
// Errors: UNAVAILABLE from every method while the store does not work.
#ifndef DASM_SERVER_MANAGER_JOB_MANAGER_H_
#define DASM_SERVER_MANAGER_JOB_MANAGER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/artifact/blob_store.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/dataset/source.h"
#include "common/metrics/metrics.h"
#include "dasm/v1/job.pb.h"
#include "server/manager/event_hub.h"
#include "server/manager/gang_table.h"
#include "server/manager/job_proto.h"
#include "server/manager/live_table.h"
#include "server/manager/manager_metrics.h"
#include "server/manager/pool_needs.h"
#include "server/manager/submission.h"
#include "server/manager/worker_table.h"
#include "server/store/job_store.h"
#include "server/store/telemetry_store.h"

namespace dasm {

// One attempt's progress, points and lines.
struct TelemetryReport {
  std::string action_key;
  uint64_t fence = 0;
  bool has_progress = false;
  TaskProgress progress;
  std::vector<MetricPointRecord> points;
  std::vector<LogLineRecord> lines;
  struct Peak {
    int rank = 0;
    PeakMemoryRecord memory;
  };
  std::optional<Peak> peak;
};

class JobManager {
 public:
  struct Options {
    absl::Duration lease = absl::Seconds(30);  // 1 s .. 1 h
    // A synchronize without news is answered after this, or a third of the
    // lease.
    absl::Duration longest_hold = absl::Seconds(10);
    // Below this much free space nothing new is accepted or started.
    int64_t min_free_bytes = 0;
    std::string tool_version;
  };
  // Borrowed, for the manager's life time.
  struct Parts {
    const Clock* clock = nullptr;
    JobStore* store = nullptr;
    TelemetryStore* telemetry = nullptr;
    BlobStore* blobs = nullptr;
    const DataRoots* roots = nullptr;
    Metrics* metrics = nullptr;
    std::function<absl::StatusOr<int64_t>()> free_bytes;
  };

  // Reads what lives from the store. Every worker with a running attempt gets
  // one full fresh lease.
  static absl::StatusOr<std::unique_ptr<JobManager>> Create(Options options,
                                                            Parts parts);
  // Stop() was called or Start() was not, and the store has no transaction of
  // ours under way.
  ~JobManager();

  void Start();
  // Ends the thread and every held call (UNAVAILABLE); closes the hub; waits
  // for transactions under way. Later calls answer UNAVAILABLE.
  void Stop();
  // Expires leases, admits, binds, places, answers held calls that are due.
  void Step();

  //   INVALID_ARGUMENT, FAILED_PRECONDITION (PrepareSubmission)
  //   FAILED_PRECONDITION reason NO_SUCH_POOL: more ranks than the workers of
  //                       any class have slots, or a precision that none has;
  //                       while no worker is known everything is accepted
  //   ALREADY_EXISTS      reason REQUEST_ID_REUSED: with another spec
  //   RESOURCE_EXHAUSTED  reason STORE_NEARLY_FULL
  // With `validate_only` the job has no id.
  absl::StatusOr<JobRecord> CreateJob(const std::string& project,
                                      const v1::JobSpec& spec,
                                      const std::string& request_id,
                                      bool validate_only);
  absl::StatusOr<Submission> Explain(const v1::JobSpec& spec);
  // NOT_FOUND. `with_tasks` false: `tasks` is empty.
  absl::StatusOr<JobView> GetJob(const JobName& name, bool with_tasks);
  // NOT_FOUND. A job that has ended stays as it is.
  absl::StatusOr<JobRecord> CancelJob(const JobName& name,
                                      const std::string& message);

  // Calls `done` once, from any thread: at once when `report` has not applied
  // the worker's newest generation, else when there is something newer, or
  // after a third of the lease (10 s at most).
  //   INVALID_ARGUMENT  worker, incarnation or slots
  void Synchronize(WorkerReport report,
                   absl::AnyInvocable<void(absl::StatusOr<Orders>)> done);
  // Brings one rank of a running gang and takes all of them, with the secret
  // that they prove to each other. `done` is called once, from any thread: when
  // the gang is complete, or incomplete after at most ten seconds.
  //   ABORTED (STALE_FENCE)  also for a gang that can never meet: it is ended,
  //                          as SPEC for two ranks on one device, as
  //                          COLLECTIVE for a rank that moved
  //   INVALID_ARGUMENT       member.*: not a rank that runs on `worker`, or not
  //                          an endpoint
  void JoinGang(const std::string& worker, const std::string& key,
                uint64_t fence, GangMember member, GangTable::Done done);
  // ABORTED (STALE_FENCE); FAILED_PRECONDITION (MISSING_BLOBS, NOT_RANK_ZERO:
  // from another worker than that of rank 0). Idempotent.
  absl::Status CommitResult(const std::string& worker, const std::string& key,
                            uint64_t fence,
                            std::map<std::string, OutputRecord> outputs,
                            const std::string& summary_json, double seconds);
  // From any rank: ends the attempt of all. ABORTED (STALE_FENCE).
  absl::Status ReportFailure(const std::string& worker, const std::string& key,
                             uint64_t fence, FailureClass failure,
                             const std::string& message);
  // ABORTED (STALE_FENCE); FAILED_PRECONDITION (MISSING_BLOBS, NOT_RANK_ZERO).
  // One that is not newer than the newest is ignored.
  absl::Status CommitCheckpoint(const std::string& worker,
                                const std::string& key, uint64_t fence,
                                CheckpointRecord checkpoint);
  // What belongs to no attempt that was ever handed out is dropped. Values
  // that are not finite are not stored.
  absl::Status ReportTelemetry(std::vector<TelemetryReport> reports);

  std::vector<WorkerView> ListWorkers();
  // NOT_FOUND.
  absl::StatusOr<WorkerView> DrainWorker(const std::string& worker, bool drain);

  // A blob that is missing or did not match its digest: the action that makes
  // it is queued again; a checkpoint is forgotten.
  void ReportBadBlob(const std::string& digest);

  struct PruneOutcome {
    std::vector<ActionRecord> pruned;
    std::vector<ActionRecord> in_use;  // left alone, for the jobs below
    std::map<std::string, std::vector<JobRecord>> users;  // by action key
    // Of blobs that nothing else holds.
    int64_t bytes = 0;
  };
  // Gives up the results of those of `keys` that are there and that no live
  // job is bound to: durably first, then their blobs are removed (again at the
  // next start, where that did not come to pass). A blob that another kept
  // result names stays.
  //   FAILED_PRECONDITION (RESULT_IN_USE)  with `all_or_none`, when one of them
  //                                        is in use; then nothing was done
  // With `dry_run` nothing is done.
  absl::StatusOr<PruneOutcome> PruneResults(
      const std::vector<std::string>& keys, bool all_or_none, bool dry_run);

  // RESOURCE_EXHAUSTED (STORE_NEARLY_FULL) below min_free_bytes.
  absl::Status CheckFreeSpace();
  // Empty: ready; else why not.
  std::string Readiness();
  EventHub* hub() { return &hub_; }

 private:
  using After = std::vector<absl::AnyInvocable<void()>>;
  using CommitDone = absl::AnyInvocable<void(absl::Status)>;
  // Queued jobs that are not in memory: by priority (highest first), creation
  // time and id.
  using QueueKey = std::tuple<int, int64_t, std::string>;
  struct QueuedJob {
    std::string project;
  };

  JobManager(Options options, Parts parts);

  void Run();
  void Kick();
  absl::Status Load();
  void ReloadIfBroken();
  // Brings queued jobs into memory while there is work to find for workers.
  // True when it brought one.
  bool Admit();
  // One queued job with its tasks, from the store into memory.
  absl::Status BringIn(const std::string& project, const std::string& id,
                       bool resolve_class);
  // True when a task was bound.
  bool BindTasks();
  void Schedule();
  void MeasureFreeSpace();
  void RefreshGauges();

  absl::Status CheckReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Queues `changes` to the store; `done` is called after the commit, without
  // the lock.
  void Enqueue(Changes changes, CommitDone done)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OnCommitted(const Changes& changes, const absl::Status& status,
                   absl::Duration took, CommitDone done);
  // Waits until everything queued so far is durable.
  absl::Status Barrier();
  void ExpireLeases() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndAttemptsOn(const std::string& worker, const std::string& message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void News(const std::string& worker, After* after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether a worker is being drained, by an operator or by itself.
  bool IsLeaving(const std::string& worker)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // To it and to all that share a gang with it.
  void NewsOfLeaving(const std::string& worker, After* after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Orders OrdersFor(const std::string& worker)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  WorkerView ViewOf(const LiveWorker& worker)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<LiveAction*> CheckFence(const std::string& key, uint64_t fence)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string PendingReason(const JobRecord& job, const TaskRecord& task)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A ready worker still has a rank of an attempt of the pending action.
  bool IsEnding(const std::string& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int BusySlots(const LiveWorker& worker) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The class for a job: that of the ready worker with most slots, ties by
  // name, among the classes that could ever run it if there is one. Empty when
  // no worker is ready.
  std::string BestClass(const PoolNeeds& needs = {})
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Slots by numerics class of the workers that are heard of.
  std::map<std::string, int> PoolSlots() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckPool(const JobSpec& spec);
  // OK unless `worker` does not run rank 0 of the action's attempt.
  absl::Status CheckRankZero(const LiveAction& action,
                             const std::string& worker)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Held JoinGang calls that are due, and gangs whose attempt has ended.
  void TendGangs(After* after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RemoveUnreferenced(const std::string& digest);
  // Sizes by digest of the blobs that only these results, to be pruned or
  // pruned before, name.
  absl::StatusOr<std::map<std::string, int64_t>> BlobsOnlyOf(
      const std::vector<ActionRecord>& results);
  void RemoveBlobsOfPruned(const std::vector<ActionRecord>& pruned);
  // What an earlier process had no time to remove.
  void FinishPruning();
  static QueueKey KeyOf(const JobRecord& job);

  const Options options_;
  const Parts parts_;
  ManagerMetrics metrics_;
  EventHub hub_;

  absl::Mutex mutex_;
  LiveTable table_ ABSL_GUARDED_BY(mutex_);
  WorkerTable workers_ ABSL_GUARDED_BY(mutex_);
  GangTable gangs_ ABSL_GUARDED_BY(mutex_);
  std::map<QueueKey, QueuedJob> queue_ ABSL_GUARDED_BY(mutex_);
  int in_flight_ ABSL_GUARDED_BY(mutex_) = 0;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool kicked_ ABSL_GUARDED_BY(mutex_) = false;
  bool nearly_full_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration reload_at_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration gauges_at_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Duration space_at_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
  absl::Mutex step_mutex_;  // one Step at a time
  std::thread thread_;
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_JOB_MANAGER_H_
