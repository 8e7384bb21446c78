// Where the coordinator's state lives. The job manager decides, the store makes
// it durable: one Transaction is one intent (submit a job, accept a result,
// ...) with everything that it changes, its events included.
#ifndef DASM_SERVER_STORE_JOB_STORE_H_
#define DASM_SERVER_STORE_JOB_STORE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/job/records.h"

namespace dasm {

// Applied whole or not at all.
struct Transaction {
  // When set, the action's stored fence must equal this, or the commit fails
  // with ABORTED (reason STALE_FENCE): results, failures and checkpoints of an
  // attempt are accepted by this comparison, in the transaction that records
  // them.
  struct RequireFence {
    std::string action_key;
    uint64_t fence = 0;
  };
  std::optional<RequireFence> require_fence;
  // Inserted; ALREADY_EXISTS (reason REQUEST_ID_USED) when project and
  // request_id are taken, ALREADY_EXISTS (reason JOB_ID_USED) for the id.
  std::optional<JobRecord> insert_job;
  // Inserted or replaced, by id / (job, id) / key / id.
  std::vector<JobRecord> jobs;
  std::vector<TaskRecord> tasks;
  std::vector<ActionRecord> actions;
  std::vector<WorkerRecord> workers;
  // Appended; the store gives the versions.
  std::vector<EventRecord> events;
};

struct CommitReceipt {
  // Version of the transaction's last event; 0 without events.
  uint64_t last_version = 0;
};

struct JobFilter {
  std::string project;
  std::vector<JobState> states;  // empty: all
};

struct JobPage {
  std::vector<JobRecord> jobs;  // without report and manifest
  // Empty: the last page. Opaque, URL-safe.
  std::string next_page_token;
};

// Which actions with a result a list is about.
struct ResultFilter {
  std::string kind;
  bool pruned = false;  // only those that were, instead of those that were not
  std::string key_prefix;  // hex digits
};

// Where a list of results goes on: behind this one.
struct ResultPosition {
  absl::Time end_time = absl::InfiniteFuture();
  std::string key;
};

// Thread-safe. UNAVAILABLE when the database cannot be read or written (then
// nothing was changed), RESOURCE_EXHAUSTED when the disk is full.
class JobStore {
 public:
  virtual ~JobStore() = default;

  // Queues `transaction`; transactions are applied in the order queued, many
  // to one fsync (group commit), and `done` is called from the writer thread
  // once it is durable or refused. One that is refused does not touch others.
  virtual void Commit(
      Transaction transaction,
      absl::AnyInvocable<void(absl::StatusOr<CommitReceipt>) &&> done) = 0;
  // The same, waiting.
  absl::StatusOr<CommitReceipt> Commit(Transaction transaction);

  // What a coordinator needs in memory at start: jobs that have not ended, the
  // tasks of those jobs, the actions that those tasks are bound to, and every
  // action with a running attempt.
  struct Live {
    std::vector<JobRecord> jobs;
    std::vector<TaskRecord> tasks;
    std::vector<ActionRecord> actions;
    std::vector<WorkerRecord> workers;
  };
  virtual absl::StatusOr<Live> LoadLive() = 0;

  // NOT_FOUND naming the job.
  virtual absl::StatusOr<JobRecord> GetJob(const std::string& project,
                                           const std::string& id) = 0;
  virtual absl::StatusOr<JobRecord> GetJobByRequestId(
      const std::string& project, const std::string& request_id) = 0;
  virtual absl::StatusOr<std::vector<TaskRecord>> GetTasks(
      const std::string& job) = 0;
  // NOT_FOUND.
  virtual absl::StatusOr<ActionRecord> GetAction(const std::string& key) = 0;
  // Actions whose result, checkpoint or input names the blob.
  virtual absl::StatusOr<std::vector<ActionRecord>> FindActionsByOutput(
      const std::string& digest) = 0;
  // SUCCEEDED actions, by end_time and key, both from high to low. Actions of
  // a release that kept no kinds are not found.
  virtual absl::StatusOr<std::vector<ActionRecord>> ListResults(
      const ResultFilter& filter, const ResultPosition& after, int limit) = 0;
  // Jobs that have not ended and have a task bound to the action, by project
  // and id; with nothing else filled in.
  virtual absl::StatusOr<std::vector<JobRecord>> ListLiveUsers(
      const std::string& action_key) = 0;
  // Newest first, by keyset. INVALID_ARGUMENT (field page_token) for a token
  // that is not ours or belongs to another filter.
  virtual absl::StatusOr<JobPage> ListJobs(const JobFilter& filter,
                                           int page_size,
                                           const std::string& page_token) = 0;
  // Of one job, with version > after, oldest first.
  virtual absl::StatusOr<std::vector<EventRecord>> ListEvents(
      const std::string& job, uint64_t after, int limit) = 0;
  // Number of jobs by state, kept by the store; for metrics.
  virtual absl::StatusOr<std::map<JobState, int64_t>> CountJobs() = 0;
  // Transactions and fsynced batches since the start.
  struct Statistics {
    uint64_t transactions = 0;
    uint64_t batches = 0;
  };
  virtual Statistics statistics() const = 0;
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_JOB_STORE_H_
