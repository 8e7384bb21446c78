#include "server/store/sqlite_telemetry_store.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "server/store/migrations.h"
#include "server/store/record_codec.h"

namespace dasm {
namespace {

constexpr char kTelemetryComponent[] = "telemetry_store";
constexpr int kCacheKib = 2048;

int64_t SeriesId(SqliteConnection& connection, const std::string& action_key,
                 const std::string& series) {
  SqliteQuery found(connection,
                    "SELECT id FROM series WHERE action_key = ? AND name = ?",
                    action_key, series);
  if (found.Step()) return found.Integer(0);
  SqliteQuery(connection, "INSERT INTO series(action_key, name) VALUES (?, ?)",
              action_key, series)
      .Run();
  return connection.LastInsertRowid();
}

int64_t SourceId(SqliteConnection& connection, const std::string& action_key) {
  SqliteQuery found(connection, "SELECT id FROM source WHERE action_key = ?",
                    action_key);
  if (found.Step()) return found.Integer(0);
  SqliteQuery(connection, "INSERT INTO source(action_key) VALUES (?)",
              action_key)
      .Run();
  return connection.LastInsertRowid();
}

struct Series {
  int64_t id = 0;
  std::string name;
};

// Of one action, by name; all when `name` is empty.
std::vector<Series> ListSeries(SqliteConnection& connection,
                               const std::string& action_key,
                               const std::string& name) {
  SqliteQuery query(connection,
                    "SELECT id, name FROM series WHERE action_key = ?1"
                    " AND (?2 = '' OR name = ?2) ORDER BY name",
                    action_key, name);
  std::vector<Series> series;
  while (query.Step()) series.push_back({query.Integer(0), query.Bytes(1)});
  return series;
}

// The oldest of a series beyond the newest `keep` and everything before it.
void TrimPoints(SqliteConnection& connection, int64_t series, int64_t keep) {
  SqliteQuery(connection,
              "DELETE FROM point WHERE series = ?1 AND step <="
              " (SELECT step FROM point WHERE series = ?1"
              " ORDER BY step DESC LIMIT 1 OFFSET ?2)",
              series, keep)
      .Run();
}

void TrimLines(SqliteConnection& connection, int64_t source, int64_t keep) {
  SqliteQuery(connection,
              "DELETE FROM line WHERE source = ?1 AND id <="
              " (SELECT id FROM line WHERE source = ?1"
              " ORDER BY id DESC LIMIT 1 OFFSET ?2)",
              source, keep)
      .Run();
}

std::unordered_set<int64_t> AllIds(SqliteConnection& connection,
                                   const char* sql) {
  SqliteQuery query(connection, sql);
  std::unordered_set<int64_t> ids;
  while (query.Step()) ids.insert(query.Integer(0));
  return ids;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteTelemetryStore>>
SqliteTelemetryStore::Create(const Options& options) {
  const bool in_memory = options.path == ":memory:";
  if (!in_memory) {
    const size_t slash = options.path.rfind('/');
    DASM_RETURN_IF_ERROR(RefuseNetworkFileSystem(
        slash == std::string::npos ? "." : options.path.substr(0, slash + 1)));
  }
  SqliteConnection::Options writer_options = {.path = options.path,
                                              .vfs = options.vfs,
                                              .full_sync = false,
                                              .cache_kib = kCacheKib};
  DASM_ASSIGN_OR_RETURN(std::unique_ptr<SqliteConnection> writer,
                        SqliteConnection::Open(writer_options));
  DASM_RETURN_IF_ERROR(
      Migrate(*writer, options.path, kTelemetryComponent, TelemetryStoreMigrations()));
  Grown all;
  DASM_RETURN_IF_ERROR(CatchSqlite(options.path, [&] {
    all.series = AllIds(*writer, "SELECT id FROM series");
    all.sources = AllIds(*writer, "SELECT id FROM source");
  }));
  SqliteConnection::Options reader_options = writer_options;
  reader_options.read_only = true;
  std::unique_ptr<SqliteTelemetryStore> store(new SqliteTelemetryStore(
      options.path, std::move(writer), std::move(reader_options),
      in_memory ? 0 : std::max(1, options.readers)));
  absl::MutexLock lock(&store->mutex_);
  store->grown_ = std::move(all);
  return store;
}

SqliteTelemetryStore::SqliteTelemetryStore(
    std::string path, std::unique_ptr<SqliteConnection> writer,
    SqliteConnection::Options reader, int readers)
    : path_(std::move(path)),
      writer_({}, std::move(writer), 1),
      readers_(readers > 0 ? std::make_unique<SqlitePool>(std::move(reader),
                                                          nullptr, readers)
                           : nullptr) {}

template <typename F>
auto SqliteTelemetryStore::Read(F&& read)
    -> decltype(read(std::declval<SqliteConnection&>())) {
  SqlitePool& pool = readers_ != nullptr ? *readers_ : writer_;
  DASM_ASSIGN_OR_RETURN(SqlitePool::Lease lease, pool.Acquire());
  return CatchSqlite(path_, [&] { return read(*lease); });
}

template <typename F>
absl::Status SqliteTelemetryStore::Write(F&& write) {
  DASM_ASSIGN_OR_RETURN(SqlitePool::Lease lease, writer_.Acquire());
  const absl::Status status = CatchSqlite(path_, [&] {
    (*lease).Execute("BEGIN IMMEDIATE");
    write(*lease);
    (*lease).Execute("COMMIT");
  });
  if (!status.ok()) (*lease).RollBack();
  return status;
}

absl::Status SqliteTelemetryStore::Append(
    const std::vector<MetricPointRecord>& points,
    const std::vector<LogLineRecord>& lines) {
  if (points.empty() && lines.empty()) return absl::OkStatus();
  Grown grown;
  DASM_RETURN_IF_ERROR(Write([&](SqliteConnection& connection) {
    for (const MetricPointRecord& point : points) {
      const int64_t series =
          SeriesId(connection, point.action_key, point.series);
      // SQLite has no NaN: it would store NULL anyway.
      SqliteQuery(connection,
                  "INSERT INTO point(series, step, time, value)"
                  " VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                  series, point.step, EncodeTime(point.time), point.value)
          .Run();
      grown.series.insert(series);
    }
    for (const LogLineRecord& line : lines) {
      const int64_t source = SourceId(connection, line.action_key);
      SqliteQuery(connection,
                  "INSERT INTO line(source, fence, rank, sequence, time,"
                  " severity, text) VALUES (?, ?, ?, ?, ?, ?, ?)"
                  " ON CONFLICT DO NOTHING",
                  source, static_cast<int64_t>(line.fence), int64_t{line.rank},
                  static_cast<int64_t>(line.sequence), EncodeTime(line.time),
                  line.severity, line.text)
          .Run();
      grown.sources.insert(source);
    }
  }));
  absl::MutexLock lock(&mutex_);
  grown_.series.merge(grown.series);
  grown_.sources.merge(grown.sources);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<MetricPointRecord>> SqliteTelemetryStore::ListPoints(
    const std::vector<std::string>& action_keys, const std::string& series,
    const PointCursor& after, int limit) {
  using Points = std::vector<MetricPointRecord>;
  const std::set<std::string> keys(action_keys.begin(), action_keys.end());
  const size_t wanted = static_cast<size_t>(std::max(0, limit));
  return Read([&](SqliteConnection& connection) -> absl::StatusOr<Points> {
    Points points;
    for (auto key = keys.lower_bound(after.action_key);
         key != keys.end() && points.size() < wanted; ++key) {
      for (const Series& one : ListSeries(connection, *key, series)) {
        if (points.size() >= wanted) break;
        const bool resumed = *key == after.action_key;
        if (resumed && one.name < after.series) continue;
        const bool within = resumed && one.name == after.series;
        if (within && after.step == INT64_MAX) continue;
        SqliteQuery query(connection,
                          "SELECT step, time, value FROM point WHERE series = ?"
                          " AND step >= ? ORDER BY step LIMIT ?",
                          one.id, within ? after.step + 1 : INT64_MIN,
                          static_cast<int64_t>(wanted - points.size()));
        while (query.Step()) {
          points.push_back(
              {.action_key = *key,
               .series = one.name,
               .step = query.Integer(0),
               .time = DecodeTime(query.Integer(1)),
               .value = query.IsNull(2)
                            ? std::numeric_limits<double>::quiet_NaN()
                            : query.Real(2)});
        }
      }
    }
    return points;
  });
}

absl::StatusOr<std::vector<LogLineRecord>> SqliteTelemetryStore::ListLines(
    const std::vector<std::string>& action_keys, uint64_t after_id, int limit) {
  using Lines = std::vector<LogLineRecord>;
  const std::set<std::string> keys(action_keys.begin(), action_keys.end());
  const size_t wanted = static_cast<size_t>(std::max(0, limit));
  return Read([&](SqliteConnection& connection) -> absl::StatusOr<Lines> {
    // The first of each action, then the first of all.
    Lines lines;
    for (const std::string& key : keys) {
      SqliteQuery query(connection,
                        "SELECT line.id, fence, rank, sequence, time, severity,"
                        " text FROM line JOIN source ON source.id = line.source"
                        " WHERE source.action_key = ? AND line.id > ?"
                        " ORDER BY line.id LIMIT ?",
                        key, static_cast<int64_t>(after_id),
                        static_cast<int64_t>(wanted));
      while (query.Step()) {
        lines.push_back({.id = static_cast<uint64_t>(query.Integer(0)),
                         .action_key = key,
                         .fence = static_cast<uint64_t>(query.Integer(1)),
                         .rank = static_cast<int>(query.Integer(2)),
                         .sequence = static_cast<uint64_t>(query.Integer(3)),
                         .time = DecodeTime(query.Integer(4)),
                         .severity = query.Bytes(5),
                         .text = query.Bytes(6)});
      }
    }
    std::sort(lines.begin(), lines.end(),
              [](const LogLineRecord& a, const LogLineRecord& b) {
                return a.id < b.id;
              });
    if (lines.size() > wanted) lines.resize(wanted);
    return lines;
  });
}

absl::Status SqliteTelemetryStore::Trim(int64_t max_lines_per_action,
                                        int64_t max_points_per_series) {
  Grown grown;
  {
    absl::MutexLock lock(&mutex_);
    std::swap(grown, grown_);
  }
  const absl::Status status = Write([&](SqliteConnection& connection) {
    for (int64_t series : grown.series) {
      TrimPoints(connection, series, max_points_per_series);
    }
    for (int64_t source : grown.sources) {
      TrimLines(connection, source, max_lines_per_action);
    }
  });
  if (!status.ok()) {
    absl::MutexLock lock(&mutex_);
    grown_.series.merge(grown.series);
    grown_.sources.merge(grown.sources);
  }
  return status;
}

}  // namespace dasm
