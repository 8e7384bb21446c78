// The sources of WatchJob and ReadLogs: both read the store and are woken by
// the manager's hub.
#ifndef DASM_SERVER_SERVICE_JOB_STREAMS_H_
#define DASM_SERVER_SERVICE_JOB_STREAMS_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/ids.h"
#include "dasm/v1/job_service.pb.h"
#include "server/manager/event_hub.h"
#include "server/service/stream_writer.h"
#include "server/store/job_store.h"
#include "server/store/telemetry_store.h"

namespace dasm {

// Between the hub and one stream: keeps the newest progress of each task and
// wakes the stream.
template <typename Message>
class StreamListener final : public JobListener {
 public:
  explicit StreamListener(std::weak_ptr<StreamWriter<Message>> stream)
      : stream_(std::move(stream)) {}

  void OnNotice(const JobNotice& notice) override {
    const std::shared_ptr<StreamWriter<Message>> stream = stream_.lock();
    if (stream == nullptr) return;
    if (notice.kind == JobNotice::Kind::kClosing) {
      stream->End(absl::UnavailableError("the coordinator is stopping"));
      return;
    }
    if (notice.kind == JobNotice::Kind::kProgress) {
      absl::MutexLock lock(&mutex_);
      progress_[notice.task] = notice.progress;
    }
    stream->Wake();
  }

  std::map<std::string, TaskProgress> TakeProgress() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(progress_, {});
  }

 private:
  const std::weak_ptr<StreamWriter<Message>> stream_;
  absl::Mutex mutex_;
  std::map<std::string, TaskProgress> progress_ ABSL_GUARDED_BY(mutex_);
};

// A job's events after a version, then live ones, until the job has ended. An
// event of progress is not stored: it carries the version of the event before
// it, so that resuming from it repeats nothing.
class WatchSource final : public StreamSource<v1::JobEvent> {
 public:
  using Listener = StreamListener<v1::JobEvent>;
  WatchSource(JobStore* store, JobName name, uint64_t after,
              std::shared_ptr<Listener> listener)
      : store_(store),
        name_(std::move(name)),
        after_(after),
        listener_(std::move(listener)) {}
  absl::StatusOr<Next> Fill(std::deque<v1::JobEvent>* out) override;

 private:
  JobStore* const store_;
  const JobName name_;
  uint64_t after_;
  const std::shared_ptr<Listener> listener_;
};

// A job's log lines after a sequence number; with `follow` until it has ended.
class LogSource final : public StreamSource<v1::LogLine> {
 public:
  using Listener = StreamListener<v1::LogLine>;
  LogSource(JobStore* store, TelemetryStore* telemetry, JobName name,
            std::string task, uint64_t after, bool follow,
            std::shared_ptr<Listener> listener)
      : store_(store),
        telemetry_(telemetry),
        name_(std::move(name)),
        task_(std::move(task)),
        after_(after),
        follow_(follow),
        listener_(std::move(listener)) {}
  absl::StatusOr<Next> Fill(std::deque<v1::LogLine>* out) override;

 private:
  JobStore* const store_;
  TelemetryStore* const telemetry_;
  const JobName name_;
  const std::string task_;
  uint64_t after_;
  const bool follow_;
  const std::shared_ptr<Listener> listener_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_JOB_STREAMS_H_
