#include "server/store/migrations.h"

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

constexpr const char* kJobStore[] = {
    // 1. Times are nanoseconds since 1970, bodies are record_codec.h's.
    R"sql(
CREATE TABLE job(
  id TEXT NOT NULL PRIMARY KEY,
  project TEXT NOT NULL,
  request_id TEXT,              -- NULL: none given
  state TEXT NOT NULL CHECK(state IN
    ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
  create_time INTEGER NOT NULL,
  body BLOB NOT NULL,
  spec BLOB NOT NULL,
  expanded_spec BLOB NOT NULL,
  report BLOB NOT NULL,         -- last: lists do not read these two
  manifest BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX job_by_request ON job(project, request_id);
CREATE INDEX job_by_time ON job(project, create_time DESC, id DESC);
CREATE INDEX job_by_state ON job(state, project, create_time DESC, id DESC);

CREATE TABLE job_count(
  state TEXT NOT NULL PRIMARY KEY,
  jobs INTEGER NOT NULL
) STRICT;
INSERT INTO job_count VALUES ('QUEUED', 0), ('RUNNING', 0), ('SUCCEEDED', 0),
  ('FAILED', 0), ('CANCELLED', 0);
CREATE TRIGGER job_inserted AFTER INSERT ON job BEGIN
  UPDATE job_count SET jobs = jobs + 1 WHERE state = new.state;
END;
CREATE TRIGGER job_deleted AFTER DELETE ON job BEGIN
  UPDATE job_count SET jobs = jobs - 1 WHERE state = old.state;
END;
CREATE TRIGGER job_moved AFTER UPDATE OF state ON job
WHEN old.state <> new.state BEGIN
  UPDATE job_count SET jobs = jobs - 1 WHERE state = old.state;
  UPDATE job_count SET jobs = jobs + 1 WHERE state = new.state;
END;

CREATE TABLE action(
  key TEXT NOT NULL PRIMARY KEY,
  state TEXT NOT NULL CHECK(state IN
    ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED')),
  fence INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX action_running ON action(key) WHERE state = 'RUNNING';

-- The blobs that an action's inputs, outputs and checkpoints name.
CREATE TABLE action_blob(
  action_key TEXT NOT NULL REFERENCES action(key) ON DELETE CASCADE,
  digest TEXT NOT NULL,
  PRIMARY KEY(action_key, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX action_blob_by_digest ON action_blob(digest);

CREATE TABLE task(
  number INTEGER PRIMARY KEY,   -- keeps the order of the graph
  job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  id TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN
    ('WAITING', 'PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
  action_key TEXT REFERENCES action(key),
  body BLOB NOT NULL,
  UNIQUE(job, id)
) STRICT;
CREATE INDEX task_by_action ON task(action_key);

CREATE TABLE event(
  version INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
  job TEXT NOT NULL REFERENCES job(id) ON DELETE CASCADE,
  time INTEGER NOT NULL,
  type TEXT NOT NULL,
  task TEXT NOT NULL,
  message TEXT NOT NULL,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX event_by_job ON event(job, version);

CREATE TABLE worker(
  id TEXT NOT NULL PRIMARY KEY,
  draining INTEGER NOT NULL
) STRICT;
)sql",
    // 2. Results can be listed by the kind of their action. Rows of version 1
    // are of kinds that nobody lists.
    R"sql(
ALTER TABLE action ADD COLUMN kind TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN end_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE action ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX action_by_kind ON action(kind, pruned, end_time DESC, key DESC)
  WHERE state = 'SUCCEEDED';
)sql",
};

constexpr const char* kTelemetryStore[] = {
    // 1. Series and actions are numbered, for a row would else repeat 64 digits
    // of a key.
    R"sql(
CREATE TABLE series(
  id INTEGER PRIMARY KEY,
  action_key TEXT NOT NULL,
  name TEXT NOT NULL,
  UNIQUE(action_key, name)
) STRICT;
CREATE TABLE point(
  series INTEGER NOT NULL REFERENCES series(id),
  step INTEGER NOT NULL,
  time INTEGER NOT NULL,
  value REAL,                   -- NULL: not a number
  PRIMARY KEY(series, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE source(
  id INTEGER PRIMARY KEY,
  action_key TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE line(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL REFERENCES source(id),
  fence INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  time INTEGER NOT NULL,
  severity TEXT NOT NULL,
  text TEXT NOT NULL,
  UNIQUE(source, fence, rank, sequence)
) STRICT;
CREATE INDEX line_by_source ON line(source, id);
)sql",
};

// The component and version in the file, 0 when it is empty.
struct Stored {
  std::string component;
  int64_t version = 0;
};

absl::StatusOr<Stored> ReadVersion(SqliteConnection& connection,
                                   const std::string& path) {
  SqliteQuery exists(connection,
                     "SELECT name = 'schema_version' FROM sqlite_schema "
                     "ORDER BY name = 'schema_version' DESC LIMIT 1");
  if (!exists.Step()) return Stored{};
  if (exists.Integer(0) == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "database ", path,
        ": has tables but no schema_version, so it is not ours; move it away "
        "or choose another state folder"));
  }
  SqliteQuery row(connection, "SELECT component, version FROM schema_version");
  if (!row.Step()) {
    return absl::FailedPreconditionError(
        absl::StrCat("database ", path,
                     ": schema_version is empty; restore it from a backup"));
  }
  return Stored{row.Bytes(0), row.Integer(1)};
}

absl::Status MigrateOpen(SqliteConnection& connection, const std::string& path,
                         const std::string& component,
                         absl::Span<const char* const> steps) {
  absl::StatusOr<Stored> stored = ReadVersion(connection, path);
  if (!stored.ok()) return stored.status();
  const int64_t known = static_cast<int64_t>(steps.size());
  if (stored->version != 0 && stored->component != component) {
    return absl::FailedPreconditionError(
        absl::StrCat("database ", path, ": is a ", stored->component,
                     ", not a ", component));
  }
  if (stored->version > known || stored->version < 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "database ", path, ": has schema version ", stored->version, " of ",
        component, ", this build knows versions up to ", known,
        "; start the newer build that wrote it, or restore a backup"));
  }
  if (stored->version == known) return absl::OkStatus();
  for (int64_t i = stored->version; i < known; ++i) {
    connection.Execute(steps[i]);
  }
  if (stored->version == 0) {
    connection.Execute(
        "CREATE TABLE schema_version(component TEXT NOT NULL,"
        " version INTEGER NOT NULL) STRICT");
    SqliteQuery(connection, "INSERT INTO schema_version VALUES (?, ?)",
                component, known)
        .Run();
  } else {
    SqliteQuery(connection, "UPDATE schema_version SET version = ?", known)
        .Run();
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Migrate(SqliteConnection& connection, const std::string& path,
                     const std::string& component,
                     absl::Span<const char* const> steps) {
  absl::Status status = CatchSqlite(path, [&]() -> absl::Status {
    connection.Execute("BEGIN IMMEDIATE");
    absl::Status migrated = MigrateOpen(connection, path, component, steps);
    if (migrated.ok()) connection.Execute("COMMIT");
    return migrated;
  });
  connection.RollBack();
  return status;
}

absl::Span<const char* const> JobStoreMigrations() { return kJobStore; }
absl::Span<const char* const> TelemetryStoreMigrations() {
  return kTelemetryStore;
}

}  // namespace dasm
