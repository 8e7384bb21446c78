#include "server/store/sqlite_connection.h"

#include <sqlite3.h>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

// Readers wait this long where the last connection of a process that was killed
// left a WAL to recover, writers for an operator's sqlite3 shell.
constexpr int kBusyTimeoutMs = 10'000;
// A WAL that grew under a long reader is cut back to this at the next reset.
constexpr int kWalLimitBytes = 64 << 20;

}  // namespace

absl::Status SqliteStatus(const SQLite::Exception& error,
                          const std::string& path) {
  const std::string what = absl::StrCat(
      "database ", path, ": ", error.what(), " (SQLite error ",
      error.getExtendedErrorCode() > 0 ? error.getExtendedErrorCode()
                                       : error.getErrorCode(),
      ")");
  // SQLiteCpp's own complaints have no code: a bug of ours.
  if (error.getErrorCode() < 0) return absl::InternalError(what);
  switch (error.getErrorCode()) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(absl::StrCat(
          what, "; free some space on its file system, nothing was changed"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(
          absl::StrCat(what, "; restore it from a backup"));
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return absl::UnavailableError(
          absl::StrCat(what,
                       "; its folder must exist and be writable by the user "
                       "that runs this process"));
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_ERROR:
      return absl::InternalError(what);
    default:
      return absl::UnavailableError(what);
  }
}

absl::StatusOr<std::unique_ptr<SqliteConnection>> SqliteConnection::Open(
    const Options& options) {
  using Result = absl::StatusOr<std::unique_ptr<SqliteConnection>>;
  return CatchSqlite(options.path, [&]() -> Result {
    std::unique_ptr<SqliteConnection> connection(new SqliteConnection(options));
    SQLite::Database& database = connection->database_;
    // WAL is a property of the file, which a reader need not set again.
    if (!options.read_only) {
      const std::string mode =
          database.execAndGet("PRAGMA journal_mode=WAL").getString();
      if (mode != "wal" && options.path != ":memory:") {
        return absl::FailedPreconditionError(
            absl::StrCat("database ", options.path,
                         ": its file system does not support WAL (journal mode "
                         "stays ",
                         mode, "); put the state folder on a local disk"));
      }
    }
    database.exec(options.full_sync ? "PRAGMA synchronous=FULL"
                                    : "PRAGMA synchronous=NORMAL");
    database.exec("PRAGMA foreign_keys=ON");
    // Keeps the savepoints' journals out of /tmp.
    database.exec("PRAGMA temp_store=MEMORY");
    database.exec(
        absl::StrCat("PRAGMA cache_size=-", options.cache_kib).c_str());
    database.exec(
        absl::StrCat("PRAGMA journal_size_limit=", kWalLimitBytes).c_str());
    if (options.read_only) database.exec("PRAGMA query_only=ON");
    return connection;
  });
}

// A reader opens read-write, too, for it takes part in the WAL's shared memory;
// query_only keeps it from writing.
SqliteConnection::SqliteConnection(const Options& options)
    : database_(options.path,
                SQLite::OPEN_READWRITE |
                    (options.read_only ? 0 : SQLite::OPEN_CREATE),
                kBusyTimeoutMs, options.vfs) {}

void SqliteConnection::RollBack() noexcept {
  if (InTransaction()) database_.tryExec("ROLLBACK");
}

bool SqliteConnection::InTransaction() const {
  return sqlite3_get_autocommit(database_.getHandle()) == 0;
}

SQLite::Statement& SqliteConnection::Prepare(const std::string& sql) {
  std::unique_ptr<SQLite::Statement>& statement = statements_[sql];
  if (statement == nullptr) {
    statement = std::make_unique<SQLite::Statement>(database_, sql);
  }
  return *statement;
}

SqliteQuery::~SqliteQuery() {
  statement_.tryReset();
  statement_.clearBindings();
}

}  // namespace dasm
