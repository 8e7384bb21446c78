// The TelemetryStore of a single coordinator: a SQLite file of its own with
// synchronous=NORMAL. What was appended survives the death of the process; the
// last seconds before a power loss may be gone, and workers do not send them
// again.
//
// Errors: as SqliteJobStore. A metric that is not a number is kept as such.
#ifndef DASM_SERVER_STORE_SQLITE_TELEMETRY_STORE_H_
#define DASM_SERVER_STORE_SQLITE_TELEMETRY_STORE_H_

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/store/sqlite_pool.h"
#include "server/store/telemetry_store.h"

namespace dasm {

class SqliteTelemetryStore final : public TelemetryStore {
 public:
  struct Options {
    std::string path;  // created when missing; ":memory:" for tests
    int readers = 2;   // connections for reading at the same time
    std::string vfs;   // of SQLite, e.g. ShimVfs::name(); empty: its own
  };
  // Errors as SqliteJobStore::Create.
  static absl::StatusOr<std::unique_ptr<SqliteTelemetryStore>> Create(
      const Options& options);

  // All of it or nothing.
  absl::Status Append(const std::vector<MetricPointRecord>& points,
                      const std::vector<LogLineRecord>& lines) override;
  absl::StatusOr<std::vector<MetricPointRecord>> ListPoints(
      const std::vector<std::string>& action_keys, const std::string& series,
      const PointCursor& after, int limit) override;
  absl::StatusOr<std::vector<LogLineRecord>> ListLines(
      const std::vector<std::string>& action_keys, uint64_t after_id,
      int limit) override;
  // Costs by what was appended since the last call, the first one by what is
  // there.
  absl::Status Trim(int64_t max_lines_per_action,
                    int64_t max_points_per_series) override;

 private:
  // Rows of `series` and `source` that got points and lines since the last
  // Trim; only these can be beyond a cap.
  struct Grown {
    std::unordered_set<int64_t> series;
    std::unordered_set<int64_t> sources;
  };

  SqliteTelemetryStore(std::string path,
                       std::unique_ptr<SqliteConnection> writer,
                       SqliteConnection::Options reader, int readers);

  template <typename F>
  auto Read(F&& read) -> decltype(read(std::declval<SqliteConnection&>()));
  // Runs `write` in a transaction.
  template <typename F>
  absl::Status Write(F&& write);

  const std::string path_;
  SqlitePool writer_;  // of one
  // In memory there is no second connection: null, and writer_ reads, too.
  const std::unique_ptr<SqlitePool> readers_;

  absl::Mutex mutex_;
  Grown grown_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_SQLITE_TELEMETRY_STORE_H_
