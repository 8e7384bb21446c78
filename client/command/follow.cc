#include "client/command/follow.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/command/exit_code.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(1);

bool Ended(v1::Job::State state) {
  return state == v1::Job::STATE_SUCCEEDED || state == v1::Job::STATE_FAILED ||
         state == v1::Job::STATE_CANCELLED;
}

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) +
         absl::Nanoseconds(time.nanos());
}

// Redraws the last line of a terminal, or does nothing.
class LiveLine {
 public:
  LiveLine(bool terminal, std::ostream* out) : terminal_(terminal), out_(out) {}
  ~LiveLine() { Clear(); }

  void Show(const std::string& line) {
    if (!terminal_) return;
    *out_ << "\r\033[K" << line << std::flush;
    shown_ = true;
  }
  void Clear() {
    if (shown_) *out_ << "\r\033[K" << std::flush;
    shown_ = false;
  }
  void Keep(const std::string& line) {
    Clear();
    *out_ << line << std::endl;
  }

 private:
  const bool terminal_;
  std::ostream* const out_;
  bool shown_ = false;
};

// Cancels a stream when the deadline passes or the user interrupts.
class Watchdog {
 public:
  Watchdog(grpc::ClientContext* call, absl::Time deadline,
           std::function<bool()> interrupted)
      : thread_([this, call, deadline, interrupted = std::move(interrupted)] {
          absl::MutexLock lock(&mutex_);
          while (!done_) {
            mutex_.AwaitWithTimeout(absl::Condition(&done_),
                                    absl::Milliseconds(100));
            if (!done_ && (absl::Now() >= deadline || interrupted())) {
              call->TryCancel();
              return;
            }
          }
        }) {}
  ~Watchdog() {
    {
      absl::MutexLock lock(&mutex_);
      done_ = true;
    }
    thread_.join();
  }

 private:
  absl::Mutex mutex_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

std::string ProgressView::Update(const v1::JobEvent& event) {
  if (event.has_job()) job_ = event.job();
  const std::string& task = event.task();
  if (event.has_task_state()) {
    const v1::Task& state = event.task_state();
    if (state.state() == v1::Task::STATE_RUNNING) {
      running_[task] = state;
      if (state.progress().step() > 0) {
        history_[task].push_back(state.progress().value());
      }
    } else {
      running_.erase(task);
      history_.erase(task);
      checkpoint_.erase(task);
    }
  }
  if (event.type() == "checkpoint") checkpoint_[task] = ToTime(event.time());
  if (event.type() == "task_progress" || event.type() == "checkpoint") {
    return "";
  }
  std::string line =
      absl::FormatTime("%H:%M:%S", ToTime(event.time()), absl::UTCTimeZone());
  absl::StrAppend(&line, "  ", event.type());
  if (!task.empty()) absl::StrAppend(&line, "  ", task);
  if (event.task_state().cached()) absl::StrAppend(&line, "  (cached)");
  if (!event.message().empty()) absl::StrAppend(&line, "  ", event.message());
  return line;
}

std::string ProgressView::Line(absl::Time now) const {
  std::string line =
      absl::StrCat(job_.tasks_done(), "/", job_.tasks_total(), " tasks");
  if (running_.empty()) return absl::StrCat(line, "  waiting for a worker");
  const auto& [id, task] = *running_.begin();
  const v1::Progress& progress = task.progress();
  absl::StrAppend(&line, "  ", id);
  if (progress.total_steps() > 0) {
    absl::StrAppend(&line, " ", progress.step(), "/", progress.total_steps());
  }
  if (!progress.series().empty()) {
    absl::StrAppendFormat(&line, "  %s %.4g", progress.series(),
                          progress.value());
    const auto history = history_.find(id);
    if (history != history_.end()) {
      absl::StrAppend(&line, " ", Sparkline(history->second, 16));
    }
  }
  if (progress.steps_per_second() > 0) {
    absl::StrAppendFormat(&line, "  %.2f/s", progress.steps_per_second());
    const double left = (progress.total_steps() - progress.step()) /
                        progress.steps_per_second();
    absl::StrAppend(&line, "  left ", HumanDuration(absl::Seconds(left)));
  }
  const auto checkpoint = checkpoint_.find(id);
  if (checkpoint != checkpoint_.end()) {
    absl::StrAppend(&line, "  checkpoint ",
                    HumanDuration(now - checkpoint->second), " ago");
  }
  if (running_.size() > 1) {
    absl::StrAppend(&line, "  (+", running_.size() - 1, " more)");
  }
  return line;
}

absl::StatusOr<v1::Job> FollowJob(Context* context, const std::string& name,
                                  const FollowOptions& options) {
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  const absl::Time deadline = absl::Now() + options.timeout;
  LiveLine live(context->terminal && !options.quiet, context->talk);
  ProgressView view;
  uint64_t version = 0;
  absl::Time lost = absl::InfiniteFuture();
  for (;;) {
    grpc::ClientContext call;
    v1::WatchJobRequest request;
    request.set_name(name);
    request.set_resume_version(version);
    grpc::Status finished;
    {
      Watchdog watchdog(&call, deadline, options.interrupted);
      auto stream = stubs->jobs->WatchJob(&call, request);
      v1::JobEvent event;
      while (stream->Read(&event)) {
        lost = absl::InfiniteFuture();
        version = std::max<uint64_t>(version, event.version());
        const std::string line = view.Update(event);
        if (!options.quiet) {
          if (!line.empty()) live.Keep(line);
          live.Show(view.Line(absl::Now()));
        }
      }
      finished = stream->Finish();
    }
    if (options.interrupted()) {
      return absl::CancelledError(
          absl::StrCat("stopped following; ", name, " goes on"));
    }
    if (absl::Now() >= deadline) {
      return WithReason(
          absl::DeadlineExceededError(absl::StrCat(
              name, " has not ended within ", HumanDuration(options.timeout))),
          "WAIT_TIMEOUT");
    }
    const absl::Status status = FromServer(*context, finished);
    if (status.ok()) {
      v1::GetJobRequest get;
      get.set_name(name);
      DASM_ASSIGN_OR_RETURN(v1::Job job,
                            Call(*context, stubs->jobs.get(),
                                 &v1::JobService::Stub::GetJob, get));
      if (Ended(job.state())) return job;
    } else if (!absl::IsUnavailable(status) && !absl::IsCancelled(status)) {
      return status;
    } else {
      lost = std::min(lost, absl::Now());
      if (absl::Now() - lost > kPatience) return status;
    }
    absl::SleepFor(absl::Milliseconds(200));
  }
}

}  // namespace dasm
