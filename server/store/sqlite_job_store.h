// The JobStore of a single coordinator: one SQLite file with a write-ahead log,
// one thread that writes, readers on snapshots of their own.
//
// Durability: a transaction is acknowledged after the fsync that holds it
//   (synchronous=FULL). Whatever is queued while an fsync runs shares the next
//   one, so that throughput grows with the number of waiting callers and not
//   with the speed of the disk. No time is spent waiting for company.
// Errors: one transaction that is refused is undone alone (a savepoint each).
//   An error of the disk fails the whole batch, refusals included, for those
//   may rest on a neighbour that is undone, too; the store stays usable. Beyond
//   the codes of job_store.h: DATA_LOSS for a damaged file, INTERNAL for a
//   transaction that refers to a job or action that does not exist.
// A batch whose fsync failed may, if the machine dies before the next commit,
//   be found applied after all; request ids and fences make its repetition
//   harmless.
// Only one process may have the file: the caller holds the DirectoryLock.
#ifndef DASM_SERVER_STORE_SQLITE_JOB_STORE_H_
#define DASM_SERVER_STORE_SQLITE_JOB_STORE_H_

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/store/job_store.h"
#include "server/store/shim_vfs.h"
#include "server/store/sqlite_connection.h"
#include "server/store/sqlite_pool.h"

namespace dasm {

class SqliteJobStore final : public JobStore {
 public:
  struct Options {
    std::string path;  // created when missing; ":memory:" for tests
    int readers = 4;   // connections for reading at the same time
    // Added to every fsync, for benches that compare disks.
    absl::Duration fsync_delay = absl::ZeroDuration();
    std::string vfs;  // of SQLite, e.g. ShimVfs::name(); empty: its own
  };
  // FAILED_PRECONDITION for a network file system or a schema that this build
  // does not know; DATA_LOSS for a file that is not a database; UNAVAILABLE
  // when it cannot be opened.
  static absl::StatusOr<std::unique_ptr<SqliteJobStore>> Create(
      const Options& options);
  // Finishes what is queued.
  ~SqliteJobStore() override;

  using JobStore::Commit;
  void Commit(
      Transaction transaction,
      absl::AnyInvocable<void(absl::StatusOr<CommitReceipt>) &&> done) override;
  absl::StatusOr<Live> LoadLive() override;
  absl::StatusOr<JobRecord> GetJob(const std::string& project,
                                   const std::string& id) override;
  absl::StatusOr<JobRecord> GetJobByRequestId(
      const std::string& project, const std::string& request_id) override;
  // In the order of the first insertion.
  absl::StatusOr<std::vector<TaskRecord>> GetTasks(
      const std::string& job) override;
  absl::StatusOr<ActionRecord> GetAction(const std::string& key) override;
  absl::StatusOr<std::vector<ActionRecord>> FindActionsByOutput(
      const std::string& digest) override;
  // `page_size` is brought into 1 ... 1000.
  absl::StatusOr<std::vector<ActionRecord>> ListResults(
      const ResultFilter& filter, const ResultPosition& after,
      int limit) override;
  absl::StatusOr<std::vector<JobRecord>> ListLiveUsers(
      const std::string& action_key) override;
  absl::StatusOr<JobPage> ListJobs(const JobFilter& filter, int page_size,
                                   const std::string& page_token) override;
  absl::StatusOr<std::vector<EventRecord>> ListEvents(const std::string& job,
                                                      uint64_t after,
                                                      int limit) override;
  absl::StatusOr<std::map<JobState, int64_t>> CountJobs() override;
  // Counts accepted transactions and the batches that had one.
  Statistics statistics() const override;

 private:
  struct Pending {
    Transaction transaction;
    absl::AnyInvocable<void(absl::StatusOr<CommitReceipt>) &&> done;
  };

  SqliteJobStore(std::string path, std::unique_ptr<ShimVfs> delay,
                 std::unique_ptr<SqliteConnection> writer,
                 SqliteConnection::Options reader, int readers);

  void WriterLoop();
  // One result for each of `batch`, in its order, all of them durable.
  std::vector<absl::StatusOr<CommitReceipt>> Write(
      const std::vector<Pending>& batch);
  // Runs `read` on a connection, with its exceptions as statuses.
  template <typename F>
  auto Read(F&& read) -> decltype(read(std::declval<SqliteConnection&>()));

  const std::string path_;
  const std::unique_ptr<ShimVfs> delay_;      // outlives the connections
  std::unique_ptr<SqliteConnection> writer_;  // null: in memory, see readers_
  SqlitePool readers_;

  mutable absl::Mutex mutex_;
  std::vector<Pending> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Statistics statistics_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;  // last: started when the rest is ready
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_SQLITE_JOB_STORE_H_
