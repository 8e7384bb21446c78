#include "server/store/sqlite_job_rows.h"

#include <set>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "server/store/record_codec.h"

namespace dasm {
namespace {

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

}  // namespace

absl::StatusOr<JobState> ReadJobState(const SqliteQuery& row, int column) {
  JobState state = JobState::kQueued;
  DASM_RETURN_IF_ERROR(ParseState(kJobStates, row.Bytes(column), &state));
  return state;
}

absl::StatusOr<JobRecord> ReadListedJob(const SqliteQuery& row) {
  JobRecord job;
  job.id = row.Bytes(0);
  job.project = row.Bytes(1);
  job.request_id = row.Bytes(2);
  DASM_ASSIGN_OR_RETURN(job.state, ReadJobState(row, 3));
  job.create_time = DecodeTime(row.Integer(4));
  DASM_RETURN_IF_ERROR(
      WithContext(DecodeBody(row.Bytes(5), &job), "job " + job.id));
  job.spec = row.Bytes(6);
  job.expanded_spec = row.Bytes(7);
  return job;
}

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

absl::StatusOr<EventRecord> ReadEvent(const SqliteQuery& row) {
  return EventRecord{.version = static_cast<uint64_t>(row.Integer(0)),
                     .job = row.Bytes(1),
                     .time = DecodeTime(row.Integer(2)),
                     .type = row.Bytes(3),
                     .task = row.Bytes(4),
                     .message = row.Bytes(5),
                     .body = row.Bytes(6)};
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

}  // namespace dasm
