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

namespace dasm {
namespace {

constexpr char kComponent[] = "job_store";
// Bounds what one fsync holds back, and how much one bad disk answer fails.
constexpr size_t kMaxBatch = 512;
constexpr int kMaxPageSize = 1000;
constexpr int kWriterCacheKib = 8192;
constexpr int kReaderCacheKib = 2048;

using Blob = SqliteQuery::Blob;

template <typename State, size_t kStates>
absl::Status ParseState(const State (&states)[kStates], std::string_view name,
                        State* state) {
  for (State candidate : states) {
    if (Name(candidate) == name) {
      *state = candidate;
      return absl::OkStatus();
    }
  }
  return absl::DataLossError(
      absl::StrCat("stored state ", std::string(name), " is unknown"));
}

constexpr JobState kJobStates[] = {JobState::kQueued, JobState::kRunning,
                                   JobState::kSucceeded, JobState::kFailed,
                                   JobState::kCancelled};
constexpr TaskState kTaskStates[] = {
    TaskState::kWaiting,   TaskState::kPending, TaskState::kRunning,
    TaskState::kSucceeded, TaskState::kFailed,  TaskState::kCancelled};
constexpr ActionState kActionStates[] = {
    ActionState::kPending, ActionState::kRunning, ActionState::kSucceeded,
    ActionState::kFailed};

// The columns that ReadJob, ReadTask, ReadAction and ReadEvent expect.
constexpr char kListedJobColumns[] =
    "id, project, request_id, state, create_time, body, spec, expanded_spec";
constexpr char kTaskColumns[] = "job, id, state, action_key, body";
constexpr char kActionColumns[] = "key, state, fence, body";

absl::StatusOr<JobRecord> ReadListedJob(const SqliteQuery& row) {
  JobRecord job;
  job.id = row.Bytes(0);
  job.project = row.Bytes(1);
  job.request_id = row.Bytes(2);
  DASM_RETURN_IF_ERROR(ParseState(kJobStates, row.Bytes(3), &job.state));
  job.create_time = DecodeTime(row.Integer(4));
  DASM_RETURN_IF_ERROR(
      WithContext(DecodeBody(row.Bytes(5), &job), "job " + job.id));
  job.spec = row.Bytes(6);
  job.expanded_spec = row.Bytes(7);
  return job;
}

// With `report, manifest` behind kListedJobColumns.
absl::StatusOr<JobRecord> ReadJob(const SqliteQuery& row) {
  DASM_ASSIGN_OR_RETURN(JobRecord job, ReadListedJob(row));
  job.report_json = row.Bytes(8);
  job.manifest_json = row.Bytes(9);
  return job;
}

absl::StatusOr<TaskRecord> ReadTask(const SqliteQuery& row) {
  TaskRecord task;
  task.job = row.Bytes(0);
  task.id = row.Bytes(1);
  DASM_RETURN_IF_ERROR(ParseState(kTaskStates, row.Bytes(2), &task.state));
  task.action_key = row.Bytes(3);
  DASM_RETURN_IF_ERROR(
      WithContext(DecodeBody(row.Bytes(4), &task),
                  absl::StrCat("task ", task.job, "/", task.id)));
  return task;
}

absl::StatusOr<ActionRecord> ReadAction(const SqliteQuery& row) {
  ActionRecord action;
  action.key = row.Bytes(0);
  DASM_RETURN_IF_ERROR(ParseState(kActionStates, row.Bytes(1), &action.state));
  action.fence = static_cast<uint64_t>(row.Integer(2));
  DASM_RETURN_IF_ERROR(
      WithContext(DecodeBody(row.Bytes(3), &action), "action " + action.key));
  return action;
}

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

void PutJob(SqliteConnection& connection, const JobRecord& job) {
  SqliteQuery query(
      connection,
      "INSERT INTO job(id, project, request_id, state, create_time, body, spec,"
      " expanded_spec, report, manifest)"
      " VALUES (?, ?, nullif(?, ''), ?, ?, ?, ?, ?, ?, ?)"
      " ON CONFLICT(id) DO UPDATE SET project = excluded.project,"
      " request_id = excluded.request_id, state = excluded.state,"
      " create_time = excluded.create_time, body = excluded.body,"
      " spec = excluded.spec, expanded_spec = excluded.expanded_spec,"
      " report = excluded.report, manifest = excluded.manifest",
      job.id, job.project, job.request_id, Name(job.state),
      EncodeTime(job.create_time), Blob{EncodeBody(job)}, Blob{job.spec},
      Blob{job.expanded_spec}, Blob{job.report_json}, Blob{job.manifest_json});
  query.Run();
}

void PutTask(SqliteConnection& connection, const TaskRecord& task) {
  SqliteQuery query(
      connection,
      "INSERT INTO task(job, id, state, action_key, body)"
      " VALUES (?, ?, ?, nullif(?, ''), ?)"
      " ON CONFLICT(job, id) DO UPDATE SET state = excluded.state,"
      " action_key = excluded.action_key, body = excluded.body",
      task.job, task.id, Name(task.state), task.action_key,
      Blob{EncodeBody(task)});
  query.Run();
}

void PutAction(SqliteConnection& connection, const ActionRecord& action) {
  SqliteQuery(connection,
              "INSERT INTO action(key, state, fence, body, kind, end_time,"
              " pruned) VALUES (?, ?, ?, ?, ?, ?, ?)"
              " ON CONFLICT(key) DO UPDATE SET state = excluded.state,"
              " fence = excluded.fence, body = excluded.body,"
              " kind = excluded.kind, end_time = excluded.end_time,"
              " pruned = excluded.pruned",
              action.key, Name(action.state),
              static_cast<int64_t>(action.fence), Blob{EncodeBody(action)},
              action.kind, EncodeTime(action.end_time),
              int64_t{action.prune_time != absl::InfinitePast()})
      .Run();

  std::set<std::string> digests;
  for (const auto& [name, blob] : action.inputs) digests.insert(blob.digest);
  for (const auto& [name, output] : action.outputs) {
    digests.insert(output.blob.digest);
  }
  for (const CheckpointRecord& checkpoint : action.checkpoints) {
    digests.insert(checkpoint.blob.digest);
  }
  SqliteQuery(connection, "DELETE FROM action_blob WHERE action_key = ?",
              action.key)
      .Run();
  for (const std::string& digest : digests) {
    SqliteQuery(connection,
                "INSERT INTO action_blob(action_key, digest) VALUES (?, ?)",
                action.key, digest)
        .Run();
  }
}

void PutWorker(SqliteConnection& connection, const WorkerRecord& worker) {
  SqliteQuery(connection,
              "INSERT INTO worker(id, draining) VALUES (?, ?)"
              " ON CONFLICT(id) DO UPDATE SET draining = excluded.draining",
              worker.id, int64_t{worker.draining})
      .Run();
}

uint64_t AppendEvent(SqliteConnection& connection, const EventRecord& event) {
  SqliteQuery(connection,
              "INSERT INTO event(job, time, type, task, message, body)"
              " VALUES (?, ?, ?, ?, ?, ?)",
              event.job, EncodeTime(event.time), event.type, event.task,
              event.message, Blob{event.body})
      .Run();
  return static_cast<uint64_t>(connection.LastInsertRowid());
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
      Migrate(*writer, options.path, kComponent, JobStoreMigrations()));
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
  return Read([&](SqliteConnection& connection)
                  -> absl::StatusOr<std::vector<EventRecord>> {
    SqliteQuery query(connection,
                      "SELECT version, job, time, type, task, message, body"
                      " FROM event WHERE job = ? AND version > ?"
                      " ORDER BY version LIMIT ?",
                      job, static_cast<int64_t>(after),
                      static_cast<int64_t>(std::max(0, limit)));
    std::vector<EventRecord> events;
    while (query.Step()) {
      events.push_back({.version = static_cast<uint64_t>(query.Integer(0)),
                        .job = query.Bytes(1),
                        .time = DecodeTime(query.Integer(2)),
                        .type = query.Bytes(3),
                        .task = query.Bytes(4),
                        .message = query.Bytes(5),
                        .body = query.Bytes(6)});
    }
    return events;
  });
}

absl::StatusOr<std::map<JobState, int64_t>> SqliteJobStore::CountJobs() {
  using Counts = std::map<JobState, int64_t>;
  return Read([](SqliteConnection& connection) -> absl::StatusOr<Counts> {
    SqliteQuery query(connection, "SELECT state, jobs FROM job_count");
    Counts counts;
    while (query.Step()) {
      JobState state;
      DASM_RETURN_IF_ERROR(ParseState(kJobStates, query.Bytes(0), &state));
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
