// One connection to a SQLite database, with its prepared statements kept, and
// the translation of SQLite's errors.
//
// Errors: the methods throw SQLite::Exception; every public method of a store
//   runs its body in CatchSqlite, so that nothing is thrown out of
//   server/store.
// Threads: one at a time.
#ifndef DASM_SERVER_STORE_SQLITE_CONNECTION_H_
#define DASM_SERVER_STORE_SQLITE_CONNECTION_H_

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dasm {

// FULL means that the disk is, too: RESOURCE_EXHAUSTED. A database that is
// damaged or not one is DATA_LOSS. What refuses one statement for its content
// (a constraint) is INTERNAL, for the stores check before they write. The rest
// is UNAVAILABLE. All name `path`.
absl::Status SqliteStatus(const SQLite::Exception& error,
                          const std::string& path);

// Runs `body`, which returns void, a Status or a StatusOr.
template <typename F>
auto CatchSqlite(const std::string& path, F&& body) {
  using Result = std::invoke_result_t<F>;
  if constexpr (std::is_void_v<Result>) {
    try {
      body();
      return absl::OkStatus();
    } catch (const SQLite::Exception& error) {
      return SqliteStatus(error, path);
    }
  } else {
    try {
      return body();
    } catch (const SQLite::Exception& error) {
      return Result(SqliteStatus(error, path));
    }
  }
}

class SqliteConnection {
 public:
  struct Options {
    std::string path;  // a file or ":memory:"
    std::string vfs;   // empty: SQLite's own
    bool read_only = false;
    bool full_sync = true;  // synchronous=FULL: a commit is an fsync
    int cache_kib = 2048;   // page cache
  };
  // Creates the file when it is missing (not read_only). Sets WAL, foreign keys
  // and the time-outs.
  static absl::StatusOr<std::unique_ptr<SqliteConnection>> Open(
      const Options& options);

  void Execute(const char* sql) { database_.exec(sql); }
  // Undoes the open transaction, if any; never throws.
  void RollBack() noexcept;
  // False once SQLite has undone the whole transaction by itself, as it does
  // after some I/O errors.
  bool InTransaction() const;
  int64_t LastInsertRowid() const { return database_.getLastInsertRowid(); }
  // Prepared at first use and kept.
  SQLite::Statement& Prepare(const std::string& sql);

 private:
  explicit SqliteConnection(const Options& options);

  SQLite::Database database_;
  std::unordered_map<std::string, std::unique_ptr<SQLite::Statement>>
      statements_;
};

// One execution of a statement. Its destructor resets the statement, for one
// that is left in the middle would hold a read snapshot open. A connection runs
// one query of the same text at a time.
class SqliteQuery {
 public:
  struct Blob {
    std::string_view bytes;
  };

  template <typename... Values>
  SqliteQuery(SqliteConnection& connection, const std::string& sql,
              const Values&... values)
      : statement_(connection.Prepare(sql)) {
    (Bind(values), ...);
  }
  ~SqliteQuery();
  SqliteQuery(const SqliteQuery&) = delete;
  SqliteQuery& operator=(const SqliteQuery&) = delete;

  void Bind(int64_t value) { statement_.bind(++bound_, value); }
  void Bind(double value) { statement_.bind(++bound_, value); }
  void Bind(std::nullptr_t) { statement_.bind(++bound_); }
  void Bind(const std::string& value) { statement_.bind(++bound_, value); }
  void Bind(std::string_view value) { Bind(std::string(value)); }
  void Bind(Blob value) {
    statement_.bind(++bound_, static_cast<const void*>(value.bytes.data()),
                    static_cast<int>(value.bytes.size()));
  }

  // True while there is a row.
  bool Step() { return statement_.executeStep(); }
  // For what returns no rows: the number of rows changed.
  int Run() { return statement_.exec(); }

  bool IsNull(int column) const { return statement_.isColumnNull(column); }
  int64_t Integer(int column) const {
    return statement_.getColumn(column).getInt64();
  }
  double Real(int column) const {
    return statement_.getColumn(column).getDouble();
  }
  // Text and blobs alike.
  std::string Bytes(int column) const {
    return statement_.getColumn(column).getString();
  }

 private:
  SQLite::Statement& statement_;
  int bound_ = 0;
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_SQLITE_CONNECTION_H_
