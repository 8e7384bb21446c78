// The tables of the job store (migrations.h) as records: how each is read from
// a row and put into its table. Which rows, and when they are durable:
// sqlite_job_store.h.
//
// Errors: a row that cannot be a record is DATA_LOSS naming it. What SQLite
//   refuses is thrown as SQLite::Exception (CatchSqlite).
// Threads: those of the connection.
#ifndef DASM_SERVER_STORE_SQLITE_JOB_ROWS_H_
#define DASM_SERVER_STORE_SQLITE_JOB_ROWS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "server/job/records.h"
#include "server/job/state.h"
#include "server/store/sqlite_connection.h"

namespace dasm {

// The columns that the readers below expect, in this order. A list leaves out
// the report and the manifest, which may be large: `report, manifest` follow
// kListedJobColumns for ReadJob.
inline constexpr char kListedJobColumns[] =
    "id, project, request_id, state, create_time, body, spec, expanded_spec";
inline constexpr char kTaskColumns[] = "job, id, state, action_key, body";
inline constexpr char kActionColumns[] = "key, state, fence, body";
inline constexpr char kEventColumns[] =
    "version, job, time, type, task, message, body";

absl::StatusOr<JobState> ReadJobState(const SqliteQuery& row, int column);
absl::StatusOr<JobRecord> ReadListedJob(const SqliteQuery& row);
absl::StatusOr<JobRecord> ReadJob(const SqliteQuery& row);
absl::StatusOr<TaskRecord> ReadTask(const SqliteQuery& row);
absl::StatusOr<ActionRecord> ReadAction(const SqliteQuery& row);
absl::StatusOr<EventRecord> ReadEvent(const SqliteQuery& row);

// Insert the record, or replace the one of the same key. An action is indexed
// by every blob that it names.
void PutJob(SqliteConnection& connection, const JobRecord& job);
void PutTask(SqliteConnection& connection, const TaskRecord& task);
void PutAction(SqliteConnection& connection, const ActionRecord& action);
void PutWorker(SqliteConnection& connection, const WorkerRecord& worker);
// Returns its version, which is above all earlier ones.
uint64_t AppendEvent(SqliteConnection& connection, const EventRecord& event);

}  // namespace dasm

#endif  // DASM_SERVER_STORE_SQLITE_JOB_ROWS_H_
