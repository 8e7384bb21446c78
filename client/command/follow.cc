#include "client/command/follow.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "client/command/exit_code.h"
#include "client/command/job_view.h"
#include "client/command/task_groups.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr absl::Duration kPatience = absl::Minutes(1);

bool Ended(v1::Job::State state) {
  return state == v1::Job::STATE_SUCCEEDED || state == v1::Job::STATE_FAILED ||
         state == v1::Job::STATE_CANCELLED;
}

// Redraws the last line of a terminal, or does nothing.
class LiveLine {
 public:
  LiveLine(bool terminal, std::ostream* out) : terminal_(terminal), out_(out) {}
  ~LiveLine() { Clear(); }

  void Show(const ProgressView& view) {
    if (!terminal_) return;
    // Asked again each time, for the window may have changed. A line that
    // fills the last column makes some terminals wrap.
    const std::string line = view.Line(absl::Now(), TerminalColumns() - 1);
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

void ProgressView::Expect(const v1::Job& job) {
  std::map<std::string, size_t> sizes;
  for (const v1::Task& task : job.tasks()) {
    ++sizes[std::string(GroupPrefix(LastPart(task.name())))];
  }
  for (const auto& [prefix, size] : sizes) {
    if (!prefix.empty() && size >= kLeastOfGroup) groups_[prefix].size = size;
  }
}

std::string ProgressView::GroupNews(Group* group, const v1::JobEvent& event) {
  const std::string prefix(GroupPrefix(event.task()));
  if (event.type() == "task_running") {
    if (std::exchange(group->begun, true)) return "";
    return absl::StrCat("task_running  ", prefix, "  ", group->size, " tasks");
  }
  group->done.insert(event.task());
  const size_t done = group->done.size();
  const size_t tenth = std::max<size_t>(1, (group->size + 9) / 10);
  if (done % tenth != 0 && done != group->size) return "";
  return absl::StrCat("task_succeeded  ", prefix, "  ", done, "/", group->size);
}

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
  std::string line = absl::FormatTime("%H:%M:%S", ToTime(event.time()), zone_);
  const auto group = groups_.find(GroupPrefix(task));
  if (group != groups_.end() &&
      (event.type() == "task_running" || event.type() == "task_succeeded")) {
    const std::string news = GroupNews(&group->second, event);
    return news.empty() ? "" : absl::StrCat(line, "  ", news);
  }
  absl::StrAppend(&line, "  ", event.type());
  if (!task.empty()) absl::StrAppend(&line, "  ", task);
  if (event.task_state().cached()) absl::StrAppend(&line, "  (cached)");
  if (!event.message().empty()) absl::StrAppend(&line, "  ", event.message());
  return line;
}

std::string ProgressView::Line(absl::Time now, int columns) const {
  // In the order shown; the highest number is left out first.
  struct Part {
    std::string text;
    int expendable;
  };
  std::vector<Part> parts;
  parts.push_back(
      {absl::StrCat(job_.tasks_done(), "/", job_.tasks_total(), " tasks"), 3});
  if (running_.empty()) {
    parts.push_back({"waiting for a worker", 0});
  } else {
    const auto& [id, task] = *running_.begin();
    const v1::Progress& progress = task.progress();
    std::string name = ElideMiddle(id, std::max(16, columns / 3));
    if (const auto group = groups_.find(GroupPrefix(id));
        group != groups_.end()) {
      name = absl::StrCat(name, " (", group->second.done.size(), "/",
                          group->second.size, " done)");
    }
    if (progress.total_steps() > 0) {
      absl::StrAppend(&name, " ", progress.step(), "/", progress.total_steps());
    }
    parts.push_back({std::move(name), 0});
    if (!progress.series().empty()) {
      // Of what, the task tells.
      absl::string_view series = progress.series();
      if (absl::EndsWith(series, "_loss")) series = "loss";
      parts.push_back(
          {absl::StrFormat("%s %.4g", series, progress.value()), 2});
      const auto history = history_.find(id);
      if (history != history_.end()) {
        parts.push_back({Sparkline(history->second, 16), 5});
      }
    }
    if (progress.steps_per_second() > 0) {
      parts.push_back(
          {absl::StrFormat("%.2f/s", progress.steps_per_second()), 4});
      const double left = (progress.total_steps() - progress.step()) /
                          progress.steps_per_second();
      parts.push_back(
          {absl::StrCat("left ", HumanDuration(absl::Seconds(left))), 1});
    }
    const auto checkpoint = checkpoint_.find(id);
    if (checkpoint != checkpoint_.end()) {
      parts.push_back(
          {absl::StrCat("checkpoint ", HumanDuration(now - checkpoint->second),
                        " ago"),
           7});
    }
    if (running_.size() > 1) {
      parts.push_back({absl::StrCat("(+", running_.size() - 1, " more)"), 6});
    }
  }
  for (;;) {
    std::string line =
        absl::StrJoin(parts, "  ", [](std::string* out, const Part& part) {
          absl::StrAppend(out, part.text);
        });
    if (DisplayWidth(line) <= columns) return line;
    if (parts.size() == 1) return ElideEnd(line, std::max(1, columns));
    parts.erase(std::max_element(parts.begin(), parts.end(),
                                 [](const Part& a, const Part& b) {
                                   return a.expendable < b.expendable;
                                 }));
  }
}

absl::StatusOr<v1::Job> FollowJob(Context* context, const std::string& name,
                                  const FollowOptions& options) {
  DASM_ASSIGN_OR_RETURN(Stubs * stubs, context->Connect());
  const absl::Time deadline = absl::Now() + options.timeout;
  LiveLine live(context->terminal && !options.quiet, context->talk);
  ProgressView view;
  if (!options.quiet) {
    v1::GetJobRequest get;
    get.set_name(name);
    get.set_view(v1::JOB_VIEW_FULL);
    // Without it lines are longer; whatever is wrong the stream will tell.
    if (const absl::StatusOr<v1::Job> job = Call(
            *context, stubs->jobs.get(), &v1::JobService::Stub::GetJob, get);
        job.ok()) {
      view.Expect(*job);
    }
  }
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
          live.Show(view);
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
