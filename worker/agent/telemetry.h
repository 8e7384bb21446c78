// What runners tell while they run, on its way to the coordinator: progress,
// metric points and log lines, at the end what memory they took, in batches
// about once a second, at least once. Never blocks a runner: when the
// coordinator stays away the oldest entries are dropped and a line says how
// many.
//
// Threads: thread-safe.
#ifndef DASM_WORKER_AGENT_TELEMETRY_H_
#define DASM_WORKER_AGENT_TELEMETRY_H_

#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "dasm/v1/job.pb.h"
#include "dasm/worker/v1/worker_service.pb.h"
#include "worker/agent/coordinator_link.h"

namespace dasm {

class Telemetry {
 public:
  struct Attempt {
    std::string task;
    uint64_t fence = 0;
    int rank = 0;
    auto operator<=>(const Attempt&) const = default;
  };
  struct Options {
    std::string worker;
    // Zero: only Flush() sends.
    absl::Duration period = absl::Seconds(1);
    // Points and lines kept of one attempt, each.
    size_t max_waiting = 20'000;
  };

  Telemetry(Options options, CoordinatorLink* coordinator, const Clock* clock);
  ~Telemetry();

  void AddProgress(const Attempt& attempt, const v1::Progress& progress);
  void AddPoint(const Attempt& attempt, const worker::v1::Point& point);
  // Numbers the line within its attempt.
  void AddLine(const Attempt& attempt, std::string severity, std::string text);
  // Of the attempt's process, which has ended.
  void SetMemory(const Attempt& attempt, v1::RankMemory memory);
  // Sends what waits of `attempt` now. After an error that may pass it is kept;
  // what the coordinator refuses for good is dropped.
  absl::Status Flush(const Attempt& attempt);
  // The attempt ended: forgotten once its rest is sent.
  void End(const Attempt& attempt);

 private:
  struct Queue {
    std::optional<v1::Progress> progress;
    std::optional<v1::RankMemory> memory;
    std::deque<worker::v1::Point> points;
    std::deque<worker::v1::Line> lines;
    uint64_t next_sequence = 1;
    int64_t dropped = 0;
    bool ended = false;
    bool empty() const {
      return !progress && !memory && points.empty() && lines.empty() &&
             dropped == 0;
    }
  };

  void Run();
  void AppendLine(const Attempt& attempt, std::string severity,
                  std::string text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  worker::v1::ReportTelemetryRequest TakeBatch(const Attempt& attempt)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void PutBack(const Attempt& attempt,
               const worker::v1::ReportTelemetryRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  CoordinatorLink* const coordinator_;
  const Clock* const clock_;
  // One batch on its way at a time, so that none overtakes another.
  absl::Mutex sending_ ABSL_ACQUIRED_BEFORE(mutex_);
  absl::Mutex mutex_;
  std::map<Attempt, Queue> queues_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_TELEMETRY_H_
