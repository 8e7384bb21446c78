#include "worker/agent/telemetry.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

constexpr int kMaxBatch = 2'000;

}  // namespace

Telemetry::Telemetry(Options options, CoordinatorLink* coordinator,
                     const Clock* clock)
    : options_(std::move(options)), coordinator_(coordinator), clock_(clock) {
  if (options_.period > absl::ZeroDuration()) {
    thread_ = std::thread([this] { Run(); });
  }
}

Telemetry::~Telemetry() {
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Telemetry::Run() {
  while (true) {
    std::vector<Attempt> attempts;
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&closed_), options_.period)) {
        return;
      }
      for (const auto& [attempt, queue] : queues_) attempts.push_back(attempt);
    }
    for (const Attempt& attempt : attempts) {
      // Kept for the next round, or refused for good: nothing to do here.
      Flush(attempt).IgnoreError();
    }
  }
}

void Telemetry::AddProgress(const Attempt& attempt,
                            const v1::Progress& progress) {
  absl::MutexLock lock(&mutex_);
  queues_[attempt].progress = progress;
}

void Telemetry::AddPoint(const Attempt& attempt,
                         const worker::v1::Point& point) {
  absl::MutexLock lock(&mutex_);
  Queue& queue = queues_[attempt];
  queue.points.push_back(point);
  if (queue.points.size() > options_.max_waiting) {
    queue.points.pop_front();
    ++queue.dropped;
  }
}

void Telemetry::AddLine(const Attempt& attempt, std::string severity,
                        std::string text) {
  absl::MutexLock lock(&mutex_);
  AppendLine(attempt, std::move(severity), std::move(text));
}

void Telemetry::AppendLine(const Attempt& attempt, std::string severity,
                           std::string text) {
  Queue& queue = queues_[attempt];
  worker::v1::Line line;
  line.set_sequence(queue.next_sequence++);
  line.set_rank(attempt.rank);
  line.set_severity(std::move(severity));
  line.set_text(std::move(text));
  line.set_time_unix_micros(absl::ToUnixMicros(clock_->Now()));
  queue.lines.push_back(std::move(line));
  if (queue.lines.size() > options_.max_waiting) {
    queue.lines.pop_front();
    ++queue.dropped;
  }
}

worker::v1::ReportTelemetryRequest Telemetry::TakeBatch(
    const Attempt& attempt) {
  worker::v1::ReportTelemetryRequest request;
  request.set_worker(options_.worker);
  const auto found = queues_.find(attempt);
  if (found == queues_.end() || found->second.empty()) return request;
  Queue& queue = found->second;
  if (queue.dropped > 0) {
    AppendLine(attempt, "WARNING",
               absl::StrCat(std::exchange(queue.dropped, 0),
                            " older points or lines were dropped: the "
                            "coordinator could not be reached"));
  }
  worker::v1::TaskTelemetry* task = request.add_tasks();
  task->set_task(attempt.task);
  task->set_fence(attempt.fence);
  if (queue.progress) *task->mutable_progress() = *std::move(queue.progress);
  queue.progress.reset();
  if (queue.memory) *task->mutable_memory() = *std::move(queue.memory);
  queue.memory.reset();
  for (int i = 0; i < kMaxBatch && !queue.points.empty(); ++i) {
    *task->add_points() = std::move(queue.points.front());
    queue.points.pop_front();
  }
  for (int i = 0; i < kMaxBatch && !queue.lines.empty(); ++i) {
    *task->add_lines() = std::move(queue.lines.front());
    queue.lines.pop_front();
  }
  return request;
}

void Telemetry::PutBack(const Attempt& attempt,
                        const worker::v1::ReportTelemetryRequest& request) {
  Queue& queue = queues_[attempt];
  const worker::v1::TaskTelemetry& task = request.tasks(0);
  // Newer progress replaces what could not be sent.
  if (task.has_progress() && !queue.progress) queue.progress = task.progress();
  if (task.has_memory() && !queue.memory) queue.memory = task.memory();
  queue.points.insert(queue.points.begin(), task.points().begin(),
                      task.points().end());
  queue.lines.insert(queue.lines.begin(), task.lines().begin(),
                     task.lines().end());
}

void Telemetry::SetMemory(const Attempt& attempt, v1::RankMemory memory) {
  memory.set_rank(attempt.rank);
  absl::MutexLock lock(&mutex_);
  queues_[attempt].memory = std::move(memory);
}

absl::Status Telemetry::Flush(const Attempt& attempt) {
  absl::MutexLock sending(&sending_);
  while (true) {
    worker::v1::ReportTelemetryRequest request;
    {
      absl::MutexLock lock(&mutex_);
      request = TakeBatch(attempt);
      if (request.tasks_size() == 0) {
        const auto found = queues_.find(attempt);
        if (found != queues_.end() && found->second.ended) {
          queues_.erase(found);
        }
        return absl::OkStatus();
      }
    }
    const absl::Status status = coordinator_->ReportTelemetry(request);
    if (status.ok()) continue;
    absl::MutexLock lock(&mutex_);
    if (IsTransient(status)) {
      PutBack(attempt, request);
    } else if (queues_[attempt].ended) {
      queues_.erase(attempt);
    }
    return status;
  }
}

void Telemetry::End(const Attempt& attempt) {
  absl::MutexLock lock(&mutex_);
  const auto found = queues_.find(attempt);
  if (found == queues_.end()) return;
  if (found->second.empty()) {
    queues_.erase(found);
  } else {
    found->second.ended = true;
  }
}

}  // namespace dasm
