// Metric history and logs: append-only, capped, in a database of their own with
// relaxed durability, so that they never slow a submit. Both are sent at least
// once; what is already there is ignored.
#ifndef DASM_SERVER_STORE_TELEMETRY_STORE_H_
#define DASM_SERVER_STORE_TELEMETRY_STORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dasm {

struct MetricPointRecord {
  std::string action_key;
  std::string series;
  int64_t step = 0;
  absl::Time time;
  double value = 0;
};

struct LogLineRecord {
  uint64_t id = 0;  // given by the store, increasing
  std::string action_key;
  uint64_t fence = 0;
  int rank = 0;
  uint64_t sequence = 0;  // of the runner: (action, fence, rank, sequence) is
                          // unique
  absl::Time time;
  std::string severity;
  std::string text;
};

// Thread-safe. Records are kept by action: jobs that share an action share its
// history. UNAVAILABLE, RESOURCE_EXHAUSTED as JobStore.
class TelemetryStore {
 public:
  virtual ~TelemetryStore() = default;
  virtual absl::Status Append(const std::vector<MetricPointRecord>& points,
                              const std::vector<LogLineRecord>& lines) = 0;
  // Ordered by (action, series, step), after the cursor; empty `series`: all.
  struct PointCursor {
    std::string action_key;
    std::string series;
    int64_t step = INT64_MIN;
  };
  virtual absl::StatusOr<std::vector<MetricPointRecord>> ListPoints(
      const std::vector<std::string>& action_keys, const std::string& series,
      const PointCursor& after, int limit) = 0;
  // Ordered by id, after `after_id`.
  virtual absl::StatusOr<std::vector<LogLineRecord>> ListLines(
      const std::vector<std::string>& action_keys, uint64_t after_id,
      int limit) = 0;
  // Keeps the newest lines and points of each action within the caps.
  virtual absl::Status Trim(int64_t max_lines_per_action,
                            int64_t max_points_per_series) = 0;
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_TELEMETRY_STORE_H_
