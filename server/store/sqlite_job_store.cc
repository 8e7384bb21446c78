#include "server/store/sqlite_job_store.h"

#include <sqlite3.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "server/store/migrations.h"
#include "server/store/page_token.h"
#include "server/store/record_codec.h"
#include "server/store/sqlite_job_rows.h"

namespace dasm {
namespace {

constexpr char kJobComponent[] = "job_store";
// Bounds what one fsync holds back, and how much one bad disk answer fails.
constexpr size_t kMaxBatch = 512;
constexpr int kMaxPageSize = 1000;
constexpr int kWriterCacheKib = 8192;
constexpr int kReaderCacheKib = 2048;

// All rows of `query`, each made by `read`.
template <typename F>
auto ReadAll(SqliteQuery& query, F&& read)
    -> absl::StatusOr<std::vector<typename decltype(read(query))::value_type>> {
  std::vector<typename decltype(read(query))::value_type> records;
  while (query.Step()) {
    DASM_ASSIGN_OR_RETURN(auto record, read(query));
    records.push_back(std::move(record));
  }
  return records;
}

absl::Status RequireFence(SqliteConnection& connection,
                          const Transaction::RequireFence& require) {
  SqliteQuery query(connection, "SELECT fence FROM action WHERE key = ?",
                    require.action_key);
  const uint64_t stored =
      query.Step() ? static_cast<uint64_t>(query.Integer(0)) : 0;
  if (stored == require.fence && stored != 0) return absl::OkStatus();
  return WithReason(
      absl::AbortedError(absl::StrCat(
          "action ", require.action_key, ": attempt ", require.fence,
          " was replaced by attempt ", stored, "; its report is refused")),
      "STALE_FENCE");
}

absl::Status CheckNewJob(SqliteConnection& connection, const JobRecord& job) {
  SqliteQuery request(connection,
                      "SELECT id FROM job WHERE project = ? AND request_id = ?",
                      job.project, job.request_id);
  if (!job.request_id.empty() && request.Step()) {
    return WithReason(absl::AlreadyExistsError(
                          absl::StrCat("request_id ", job.request_id,
                                       " was used for job ", request.Bytes(0))),
                      "REQUEST_ID_USED", "request_id");
  }
  SqliteQuery id(connection, "SELECT 1 FROM job WHERE id = ?", job.id);
  if (id.Step()) {
    return WithReason(
        absl::AlreadyExistsError(absl::StrCat("job id ", job.id, " is taken")),
        "JOB_ID_USED");
  }
  return absl::OkStatus();
}

// In the order that the foreign keys ask for.
absl::StatusOr<CommitReceipt> Apply(SqliteConnection& connection,
                                    const Transaction& transaction) {
  if (transaction.require_fence) {
    DASM_RETURN_IF_ERROR(RequireFence(connection, *transaction.require_fence));
  }
  if (transaction.insert_job) {
    DASM_RETURN_IF_ERROR(CheckNewJob(connection, *transaction.insert_job));
    PutJob(connection, *transaction.insert_job);
  }
  for (const JobRecord& job : transaction.jobs) PutJob(connection, job);
  for (const ActionRecord& action : transaction.actions) {
    PutAction(connection, action);
  }
  for (const TaskRecord& task : transaction.tasks) PutTask(connection, task);
  for (const WorkerRecord& worker : transaction.workers) {
    PutWorker(connection, worker);
  }
  CommitReceipt receipt;
  for (const EventRecord& event : transaction.events) {
    receipt.last_version = AppendEvent(connection, event);
  }
  return receipt;
}

// What SQLite refuses for a statement's content leaves the transaction around
// it usable; an error of the disk does not.
bool ConcernsOneStatement(const SQLite::Exception& error) {
  return error.getErrorCode() == SQLITE_CONSTRAINT ||
         error.getErrorCode() == SQLITE_MISMATCH ||
         error.getErrorCode() == SQLITE_TOOBIG;
}

// Applies `transaction` whole or not at all inside the open batch. Throws what
// concerns the batch.
absl::StatusOr<CommitReceipt> ApplyInSavepoint(SqliteConnection& connection,
                                               const std::string& path,
                                               const Transaction& transaction) {
  connection.Execute("SAVEPOINT one");
  absl::StatusOr<CommitReceipt> result = CommitReceipt{};
  try {
    result = Apply(connection, transaction);
  } catch (const SQLite::Exception& error) {
    if (!ConcernsOneStatement(error) || !connection.InTransaction()) throw;
    result = SqliteStatus(error, path);
  }
  if (!result.ok()) connection.Execute("ROLLBACK TO one");
  connection.Execute("RELEASE one");
  return result;
}

absl::Status JobNotFound(const std::string& project, std::string_view job) {
  return WithReason(
      absl::NotFoundError(absl::StrCat("projects/", project, "/jobs/",
                                       std::string(job), " does not exist")),
      "JOB_NOT_FOUND");
}

// The keys of a page, newest first: one index range for each wanted state, so
// that a rare state costs no walk over the others. Parameters: project, limit,
// the states, and where it goes on.
std::string ListQuery(size_t states, bool resumed) {
  std::string where = "project = ?1";
  if (resumed) {
    absl::StrAppend(&where, " AND (create_time, id) < (?", 3 + states, ", ?",
                    4 + states, ")");
  }
  const std::string order = " ORDER BY create_time DESC, id DESC";
  std::string keys;
  if (states == 0) {
    keys = absl::StrCat("SELECT id, create_time FROM job WHERE ", where, order,
                        " LIMIT ?2");
  }
  for (size_t i = 0; i < states; ++i) {
    absl::StrAppend(&keys, i == 0 ? "" : " UNION ALL ",
                    "SELECT * FROM (SELECT id, create_time FROM job WHERE "
                    "state = ?",
                    3 + i, " AND ", where, order, " LIMIT ?2)");
  }
  return absl::StrCat("SELECT ", kListedJobColumns,
                      " FROM job WHERE id IN (SELECT id FROM (", keys, ")",
                      order, " LIMIT ?2)", order);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteJobStore>> SqliteJobStore::Create(
    const Options& options) {
  const bool in_memory = options.path == ":memory:";
  if (!in_memory) {
    const size_t slash = options.path.rfind('/');
    DASM_RETURN_IF_ERROR(RefuseNetworkFileSystem(
        slash == std::string::npos ? "." : options.path.substr(0, slash + 1)));
  }
  std::unique_ptr<ShimVfs> delay;
  SqliteConnection::Options writer_options = {
      .path = options.path, .vfs = options.vfs, .cache_kib = kWriterCacheKib};
  if (options.fsync_delay > absl::ZeroDuration()) {
    delay = std::make_unique<ShimVfs>(
        ShimVfs::Options{.sync_delay = options.fsync_delay});
    writer_options.vfs = delay->name();
  }
  DASM_ASSIGN_OR_RETURN(std::unique_ptr<SqliteConnection> writer,
                        SqliteConnection::Open(writer_options));
  DASM_RETURN_IF_ERROR(
      Migrate(*writer, options.path, kJobComponent, JobStoreMigrations()));
  SqliteConnection::Options reader_options = writer_options;
  reader_options.read_only = true;
  reader_options.cache_kib = kReaderCacheKib;
  return std::unique_ptr<SqliteJobStore>(new SqliteJobStore(
      options.path, std::move(delay), std::move(writer),
      std::move(reader_options), in_memory ? 0 : std::max(1, options.readers)));
}

SqliteJobStore::SqliteJobStore(std::string path, std::unique_ptr<ShimVfs> delay,
                               std::unique_ptr<SqliteConnection> writer,
                               SqliteConnection::Options reader, int readers)
    : path_(std::move(path)),
      delay_(std::move(delay)),
      writer_(readers > 0 ? std::move(writer) : nullptr),
      readers_(std::move(reader), std::move(writer), std::max(1, readers)),
      thread_([this] { WriterLoop(); }) {}

SqliteJobStore::~SqliteJobStore() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void SqliteJobStore::Commit(
    Transaction transaction,
    absl::AnyInvocable<void(absl::StatusOr<CommitReceipt>) &&> done) {
  absl::MutexLock lock(&mutex_);
  queue_.push_back({std::move(transaction), std::move(done)});
}

void SqliteJobStore::WriterLoop() {
  while (true) {
    std::vector<Pending> batch;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](SqliteJobStore* store) {
            return store->stopping_ || !store->queue_.empty();
          },
          this));
      if (queue_.empty()) return;
      const auto end = queue_.begin() + static_cast<ptrdiff_t>(
                                            std::min(queue_.size(), kMaxBatch));
      batch.assign(std::make_move_iterator(queue_.begin()),
                   std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
    }
    std::vector<absl::StatusOr<CommitReceipt>> results = Write(batch);
    for (size_t i = 0; i < batch.size(); ++i) {
      std::move(batch[i].done)(std::move(results[i]));
    }
  }
}

std::vector<absl::StatusOr<CommitReceipt>> SqliteJobStore::Write(
    const std::vector<Pending>& batch) {
  // In memory the one connection is shared with the readers.
  std::optional<absl::StatusOr<SqlitePool::Lease>> lease;
  if (writer_ == nullptr) lease.emplace(readers_.Acquire());
  SqliteConnection& connection =
      writer_ != nullptr ? *writer_ : *lease->value();

  std::vector<absl::StatusOr<CommitReceipt>> results;
  const absl::Status written = CatchSqlite(path_, [&] {
    connection.Execute("BEGIN IMMEDIATE");
    for (const Pending& pending : batch) {
      results.push_back(
          ApplyInSavepoint(connection, path_, pending.transaction));
    }
    connection.Execute("COMMIT");
  });
  if (!written.ok()) {
    connection.RollBack();
    results.assign(batch.size(), written);
  }
  const auto accepted = std::count_if(
      results.begin(), results.end(),
      [](const absl::StatusOr<CommitReceipt>& r) { return r.ok(); });
  absl::MutexLock lock(&mutex_);
  statistics_.transactions += static_cast<uint64_t>(accepted);
  if (accepted > 0) ++statistics_.batches;
  return results;
}

template <typename F>
auto SqliteJobStore::Read(F&& read)
    -> decltype(read(std::declval<SqliteConnection&>())) {
  DASM_ASSIGN_OR_RETURN(SqlitePool::Lease lease, readers_.Acquire());
  return CatchSqlite(path_, [&] { return read(*lease); });
}

absl::StatusOr<JobStore::Live> SqliteJobStore::LoadLive() {
  return Read([](SqliteConnection& connection) -> absl::StatusOr<Live> {
    // One snapshot for all four.
    connection.Execute("BEGIN");
    absl::Cleanup end = [&connection] { connection.RollBack(); };
    Live live;
    SqliteQuery jobs(connection, absl::StrCat("SELECT ", kListedJobColumns,
                                              " FROM job WHERE state IN"
                                              " ('QUEUED', 'RUNNING')"
                                              " ORDER BY create_time, id"));
    DASM_ASSIGN_OR_RETURN(live.jobs, ReadAll(jobs, ReadListedJob));
    SqliteQuery tasks(connection,
                      absl::StrCat("SELECT ", kTaskColumns,
                                   " FROM task WHERE job IN (SELECT id FROM job"
                                   " WHERE state IN ('QUEUED', 'RUNNING'))"
                                   " ORDER BY number"));
    DASM_ASSIGN_OR_RETURN(live.tasks, ReadAll(tasks, ReadTask));
    SqliteQuery actions(
        connection,
        absl::StrCat("SELECT ", kActionColumns,
                     " FROM action WHERE key IN (SELECT action_key FROM task"
                     " WHERE job IN (SELECT id FROM job WHERE state IN"
                     " ('QUEUED', 'RUNNING'))"
                     " UNION SELECT key FROM action WHERE state = 'RUNNING')"
                     " ORDER BY key"));
    DASM_ASSIGN_OR_RETURN(live.actions, ReadAll(actions, ReadAction));
    SqliteQuery workers(connection,
                        "SELECT id, draining FROM worker ORDER BY id");
    while (workers.Step()) {
      live.workers.push_back({workers.Bytes(0), workers.Integer(1) != 0});
    }
    return live;
  });
}

absl::StatusOr<JobRecord> SqliteJobStore::GetJob(const std::string& project,
                                                 const std::string& id) {
  return Read([&](SqliteConnection& connection) -> absl::StatusOr<JobRecord> {
    SqliteQuery query(connection,
                      absl::StrCat("SELECT ", kListedJobColumns,
                                   ", report, manifest FROM job"
                                   " WHERE id = ? AND project = ?"),
                      id, project);
    if (!query.Step()) return JobNotFound(project, id);
    return ReadJob(query);
  });
}

absl::StatusOr<JobRecord> SqliteJobStore::GetJobByRequestId(
    const std::string& project, const std::string& request_id) {
  return Read([&](SqliteConnection& connection) -> absl::StatusOr<JobRecord> {
    SqliteQuery query(connection,
                      absl::StrCat("SELECT ", kListedJobColumns,
                                   ", report, manifest FROM job"
                                   " WHERE project = ? AND request_id = ?"),
                      project, request_id);
    if (!query.Step()) {
      return absl::NotFoundError(absl::StrCat("project ", project,
                                              " has no job with request_id \"",
                                              request_id, "\""));
    }
    return ReadJob(query);
  });
}

absl::StatusOr<std::vector<TaskRecord>> SqliteJobStore::GetTasks(
    const std::string& job) {
  return Read([&](SqliteConnection& connection) {
    SqliteQuery query(connection,
                      absl::StrCat("SELECT ", kTaskColumns,
                                   " FROM task WHERE job = ? ORDER BY number"),
                      job);
    return ReadAll(query, ReadTask);
  });
}

absl::StatusOr<ActionRecord> SqliteJobStore::GetAction(const std::string& key) {
  return Read(
      [&](SqliteConnection& connection) -> absl::StatusOr<ActionRecord> {
        SqliteQuery query(connection,
                          absl::StrCat("SELECT ", kActionColumns,
                                       " FROM action WHERE key = ?"),
                          key);
        if (!query.Step()) {
          return absl::NotFoundError(
              absl::StrCat("action ", key, " does not exist"));
        }
        return ReadAction(query);
      });
}

absl::StatusOr<std::vector<ActionRecord>> SqliteJobStore::FindActionsByOutput(
    const std::string& digest) {
  return Read([&](SqliteConnection& connection) {
    SqliteQuery query(connection,
                      absl::StrCat("SELECT ", kActionColumns,
                                   " FROM action WHERE key IN"
                                   " (SELECT action_key FROM action_blob"
                                   " WHERE digest = ?) ORDER BY key"),
                      digest);
    return ReadAll(query, ReadAction);
  });
}

absl::StatusOr<std::vector<ActionRecord>> SqliteJobStore::ListResults(
    const ResultFilter& filter, const ResultPosition& after, int limit) {
  return Read([&](SqliteConnection& connection) {
    // The constants are those of the index action_by_kind.
    SqliteQuery query(
        connection,
        absl::StrCat("SELECT ", kActionColumns,
                     " FROM action WHERE state = 'SUCCEEDED'"
                     " AND kind = ? AND pruned = ?"
                     " AND (end_time, key) < (?, ?)"
                     " AND substr(key, 1, ?) = ?"
                     " ORDER BY end_time DESC, key DESC LIMIT ?"),
        filter.kind, int64_t{filter.pruned}, EncodeTime(after.end_time),
        after.key, static_cast<int64_t>(filter.key_prefix.size()),
        filter.key_prefix, static_cast<int64_t>(std::max(0, limit)));
    return ReadAll(query, ReadAction);
  });
}

absl::StatusOr<std::vector<JobRecord>> SqliteJobStore::ListLiveUsers(
    const std::string& action_key) {
  using Jobs = std::vector<JobRecord>;
  return Read([&](SqliteConnection& connection) -> absl::StatusOr<Jobs> {
    SqliteQuery query(connection,
                      "SELECT project, id FROM job WHERE state IN"
                      " ('QUEUED', 'RUNNING') AND id IN"
                      " (SELECT job FROM task WHERE action_key = ?)"
                      " ORDER BY project, id",
                      action_key);
    Jobs jobs;
    while (query.Step()) {
      JobRecord& job = jobs.emplace_back();
      job.project = query.Bytes(0);
      job.id = query.Bytes(1);
    }
    return jobs;
  });
}

absl::StatusOr<JobPage> SqliteJobStore::ListJobs(
    const JobFilter& filter, int page_size, const std::string& page_token) {
  const size_t limit =
      static_cast<size_t>(std::clamp(page_size, 1, kMaxPageSize));
  std::optional<PageKey> after;
  if (!page_token.empty()) {
    DASM_ASSIGN_OR_RETURN(after, DecodePageToken(filter, page_token));
  }
  const std::set<JobState> states(filter.states.begin(), filter.states.end());
  return Read([&](SqliteConnection& connection) -> absl::StatusOr<JobPage> {
    // One more than the page tells whether it is the last.
    SqliteQuery query(connection, ListQuery(states.size(), after.has_value()),
                      filter.project, static_cast<int64_t>(limit + 1));
    for (JobState state : states) query.Bind(Name(state));
    if (after) {
      query.Bind(EncodeTime(after->create_time));
      query.Bind(after->id);
    }
    JobPage page;
    DASM_ASSIGN_OR_RETURN(page.jobs, ReadAll(query, ReadListedJob));
    if (page.jobs.size() > limit) {
      page.jobs.pop_back();
      page.next_page_token = EncodePageToken(
          filter, {page.jobs.back().create_time, page.jobs.back().id});
    }
    return page;
  });
}

absl::StatusOr<std::vector<EventRecord>> SqliteJobStore::ListEvents(
    const std::string& job, uint64_t after, int limit) {
  return Read([&](SqliteConnection& connection) {
    SqliteQuery query(connection,
                      absl::StrCat("SELECT ", kEventColumns,
                                   " FROM event WHERE job = ? AND version > ?"
                                   " ORDER BY version LIMIT ?"),
                      job, static_cast<int64_t>(after),
                      static_cast<int64_t>(std::max(0, limit)));
    return ReadAll(query, ReadEvent);
  });
}

absl::StatusOr<std::map<JobState, int64_t>> SqliteJobStore::CountJobs() {
  using Counts = std::map<JobState, int64_t>;
  return Read([](SqliteConnection& connection) -> absl::StatusOr<Counts> {
    SqliteQuery query(connection, "SELECT state, jobs FROM job_count");
    Counts counts;
    while (query.Step()) {
      DASM_ASSIGN_OR_RETURN(const JobState state, ReadJobState(query, 0));
      counts[state] = query.Integer(1);
    }
    return counts;
  });
}

JobStore::Statistics SqliteJobStore::statistics() const {
  absl::MutexLock lock(&mutex_);
  return statistics_;
}

}  // namespace dasm
