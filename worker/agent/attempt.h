// One rank of one attempt of a task on this worker, from its inputs to the
// coordinator's acknowledgement: fetch, start a runner, bring it together with
// the other ranks of its gang, forward what it tells, commit its checkpoints,
// commit its result or report its failure.
//
// Of a gang, rank 0 alone has checkpoints and a result: another rank that
// succeeds ends without a word. When one rank fails the others do, too; those
// that only felt it let the one that knows the cause speak first.
//
// An attempt that is cut off from the coordinator computes on and repeats what
// was not acknowledged; it ends early only when told to. Its folder is removed
// with it, after the acknowledgement.
// Threads: runs on one of its own; all methods are thread-safe.
#ifndef DASM_WORKER_AGENT_ATTEMPT_H_
#define DASM_WORKER_AGENT_ATTEMPT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/dataset/source.h"
#include "dasm/worker/v1/runner_service.pb.h"
#include "dasm/worker/v1/worker_service.pb.h"
#include "worker/agent/attempt_committer.h"
#include "worker/agent/blob_cache.h"
#include "worker/agent/coordinator_link.h"
#include "worker/agent/gang_rendezvous.h"
#include "worker/agent/runner_hub.h"
#include "worker/agent/runner_launcher.h"
#include "worker/agent/segment_gauges.h"
#include "worker/agent/telemetry.h"

namespace dasm {

class Attempt {
 public:
  // Borrowed; they outlive every attempt.
  struct Seams {
    const Clock* clock;
    FileSystem* fs;
    CoordinatorLink* coordinator;
    RunnerLauncher* launcher;
    RunnerHub* hub;
    BlobCache* cache;
    Telemetry* telemetry;
    SegmentGauges* gauges;
    const DataRoots* data;
    // CountOomKills (device_inventory.h), or a test's.
    std::function<int64_t()> oom_kills;
  };
  struct Options {
    std::string worker;
    std::string tasks_directory;
    std::string runner;
    std::vector<std::string> environment;
    int threads = 1;
    std::string device = "cpu";
    // Where a runner of a gang listens for its peers: "host:0".
    std::string gang_listen = "127.0.0.1:0";
    // The least time that a call of the collective may take.
    absl::Duration collective_deadline = absl::Seconds(60);
    // From this rank's runner being there to all of its gang: others may have
    // inputs to fetch.
    absl::Duration join_deadline = absl::Minutes(10);
    // For the rank that caused a failure to report it.
    absl::Duration cause_grace = absl::Seconds(2);
    // From SIGTERM to SIGKILL, and from the acknowledgement to the exit.
    absl::Duration kill_grace = absl::Seconds(5);
    // From asking for a checkpoint and an end to SIGTERM.
    absl::Duration release_grace = absl::Seconds(60);
  };

  // Starts at once. `on_end` is called last, from the attempt's thread.
  Attempt(worker::v1::Assignment assignment, const Options& options,
          const Seams& seams, std::function<void()> on_end);
  // Waits for the end.
  ~Attempt();

  const std::string& task() const { return assignment_.task(); }
  uint64_t fence() const { return assignment_.fence(); }
  int rank() const { return assignment_.rank(); }
  const std::string& directory() const { return directory_; }
  bool ended() const;

  // It is no longer wanted: the runner ends and nothing is reported. A result
  // that is being committed still is: the cache can use it, and an older fence
  // is refused.
  void Cancel();
  // The machine is wanted back: checkpoint, end, report PREEMPTED.
  void Release();
  // The agent ends: as Cancel, and nothing is repeated any more.
  void Abandon();

 private:
  // The coordinator knows a newer attempt.
  static bool IsStale(const absl::Status& status) {
    return absl::IsAborted(status);
  }

  // Runs `call` until it succeeds, fails for good, or `give_up` is true.
  absl::Status Repeat(const char* what, const std::function<bool()>& give_up,
                      const std::function<absl::Status()>& call);
  // Waits for a change, at most until the steady clock shows `deadline`.
  void WaitForChange(absl::Duration deadline)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void Run();
  void Execute();
  absl::Status Prepare();
  absl::Status ResolveCheckpoint(worker::v1::TaskFile* file);
  absl::Status StartRunner();
  void Supervise();
  bool InGang() const { return assignment_.ranks() > 1; }
  void JoinGang();
  // False when the attempt was cancelled meanwhile.
  bool LetOthersSpeak(FailureClass failure);
  void CommitPendingCheckpoint();
  // Tells what the runner's process took.
  void NoteMemory(const worker::v1::RunnerFinished& finished,
                  const RunnerExit& exit);
  void CommitOutputs(const worker::v1::RunnerFinished& finished);
  void ReportFailure(FailureClass failure, const std::string& message);
  void ReportEnd();
  void OnMessage(const worker::v1::RunnerMessage& message);
  void OnLine(bool is_stderr, std::string line);
  bool WantsOut() const;
  bool Abandoned() const;

  const worker::v1::Assignment assignment_;
  const Options options_;
  const Seams seams_;
  const std::function<void()> on_end_;
  const Telemetry::Attempt key_;
  const std::string directory_;
  const std::string token_;
  // Set for segments and experts, whose progress is a gauge.
  std::optional<SegmentGauges::Subject> subject_;
  GangRendezvous join_;
  const AttemptCommitter committer_;

  // Of the attempt's thread alone.
  std::vector<BlobCache::Pin> pins_;
  std::unique_ptr<RunnerProcess> process_;
  int64_t oom_kills_before_ = 0;
  absl::Duration next_checkpoint_try_ = absl::ZeroDuration();

  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool released_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<worker::v1::CheckpointWritten> checkpoint_
      ABSL_GUARDED_BY(mutex_);
  std::optional<worker::v1::RunnerFinished> finished_ ABSL_GUARDED_BY(mutex_);
  std::optional<RunnerExit> exit_ ABSL_GUARDED_BY(mutex_);
  // What a runner that died without a word said last.
  std::string last_words_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;  // last: it uses all of the above
};

// "<first 16 hex digits of the action key>.<fence>", of ranks above 0 with
// ".<rank>" behind it.
std::string AttemptDirectoryName(const std::string& task, uint64_t fence,
                                 int rank = 0);

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_ATTEMPT_H_
