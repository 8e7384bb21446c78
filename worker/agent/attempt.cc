#include "worker/agent/attempt.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/ids.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/agent/attempt_inputs.h"

namespace dasm {
namespace {

using worker::v1::AgentMessage;
using worker::v1::Assignment;
using worker::v1::CheckpointWritten;
using worker::v1::RunnerFinished;
using worker::v1::RunnerMessage;
using worker::v1::TaskFile;

constexpr absl::Duration kFirstPause = absl::Milliseconds(200);
constexpr absl::Duration kLongestPause = absl::Seconds(5);
// How often a deadline is compared with the clock, which may be a test's.
constexpr absl::Duration kClockCheck = absl::Milliseconds(50);

// Of rank 0 alone: all ranks report the same.
std::optional<SegmentGauges::Subject> SubjectOf(const Assignment& assignment) {
  if (assignment.rank() > 0) return std::nullopt;
  return SegmentGauges::SubjectOf(assignment.task(), assignment.kind(),
                                  assignment.parameters_json());
}

}  // namespace

std::string AttemptDirectoryName(const std::string& task, uint64_t fence,
                                 int rank) {
  absl::string_view key = task;
  absl::ConsumePrefix(&key, "sha256:");
  std::string name = absl::StrCat(key.substr(0, 16), ".", fence);
  if (rank > 0) absl::StrAppend(&name, ".", rank);
  return name;
}

Attempt::Attempt(Assignment assignment, const Options& options,
                 const Seams& seams, std::function<void()> on_end)
    : assignment_(std::move(assignment)),
      options_(options),
      seams_(seams),
      on_end_(std::move(on_end)),
      key_{assignment_.task(), assignment_.fence(), assignment_.rank()},
      directory_(absl::StrCat(
          options_.tasks_directory, "/",
          AttemptDirectoryName(assignment_.task(), assignment_.fence(),
                               assignment_.rank()))),
      token_(RandomHex(32)),
      subject_(SubjectOf(assignment_)),
      join_({.worker = options_.worker,
             .task = assignment_.task(),
             .fence = assignment_.fence(),
             .rank = assignment_.rank(),
             .ranks = assignment_.ranks(),
             .deadline = options_.join_deadline},
            seams_.coordinator, seams_.clock),
      committer_({.worker = options_.worker,
                  .task = assignment_.task(),
                  .fence = assignment_.fence(),
                  .directory = directory_},
                 seams_.fs, seams_.coordinator, seams_.cache),
      thread_([this] { Run(); }) {}

Attempt::~Attempt() { thread_.join(); }

bool Attempt::ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

void Attempt::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  join_.Stop();
  changed_.SignalAll();
}

void Attempt::Release() {
  absl::MutexLock lock(&mutex_);
  released_ = true;
  join_.Stop();
  changed_.SignalAll();
}

void Attempt::Abandon() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  abandoned_ = true;
  join_.Stop();
  changed_.SignalAll();
}

bool Attempt::WantsOut() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_ || released_;
}

bool Attempt::Abandoned() const {
  absl::MutexLock lock(&mutex_);
  return abandoned_;
}

void Attempt::WaitForChange(absl::Duration deadline) {
  if (deadline == absl::InfiniteDuration()) {
    changed_.Wait(&mutex_);
    return;
  }
  const absl::Duration left = deadline - seams_.clock->Steady();
  if (left > absl::ZeroDuration()) {
    changed_.WaitWithTimeout(&mutex_, std::min(left, kClockCheck));
  }
}

absl::Status Attempt::Repeat(const char* what,
                             const std::function<bool()>& give_up,
                             const std::function<absl::Status()>& call) {
  absl::Duration pause = kFirstPause;
  while (true) {
    const absl::Status status = call();
    if (status.ok() || !IsTransient(status) || give_up()) return status;
    DASM_LOG(WARNING, "repeating what the coordinator did not acknowledge")
        .Kv("what", what)
        .Kv("task", directory_)
        .Kv("error", status.message());
    const absl::Duration next = seams_.clock->Steady() + pause;
    pause = std::min(2 * pause, kLongestPause);
    while (seams_.clock->Steady() < next && !give_up()) {
      absl::MutexLock lock(&mutex_);
      WaitForChange(next);
    }
  }
}

void Attempt::Run() {
  DASM_LOG(INFO, "attempt started")
      .Kv("kind", assignment_.kind())
      .Kv("rank", absl::StrCat(assignment_.rank(), "/",
                               std::max(1, assignment_.ranks())))
      .Kv("task", directory_);
  Execute();
  // The order matters: no callback after Close and the process's end.
  process_.reset();
  seams_.hub->Close(token_);
  pins_.clear();
  if (subject_) seams_.gauges->Remove(*subject_);
  seams_.telemetry->End(key_);
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
  DASM_LOG(INFO, "attempt ended").Kv("task", directory_);
  {
    absl::MutexLock lock(&mutex_);
    ended_ = true;
  }
  on_end_();
}

void Attempt::Execute() {
  absl::Status status = Prepare();
  if (status.ok() && !WantsOut()) status = StartRunner();
  {
    absl::MutexLock lock(&mutex_);
    // One cancelled while its runner was being launched is still supervised:
    // the runner has to be ended.
    if (cancelled_ && process_ == nullptr) return;
    if (released_ && process_ == nullptr) {
      status =
          WithFailureClass(absl::CancelledError("released before it started"),
                           FailureClass::kPreempted);
    }
  }
  if (!status.ok()) {
    ReportFailure(FailureClassOf(status), std::string(status.message()));
    return;
  }
  Supervise();
  ReportEnd();
}

absl::Status Attempt::ResolveCheckpoint(TaskFile* file) {
  const std::string folder = absl::StrCat(directory_, "/ckpt");
  // One that this very attempt wrote before the agent restarted: newer than
  // any committed one, and no other attempt can have gone on from elsewhere.
  // The ranks of a gang go on from the one checkpoint that all of them have.
  if (!InGang()) {
    DASM_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          seams_.fs->List(folder));
    for (const std::string& name : names) {
      if (absl::StartsWith(name, "step-") &&
          absl::EndsWith(name, ".safetensors")) {
        file->set_checkpoint(absl::StrCat("ckpt/", name));
      }
    }
  }
  if (!file->checkpoint().empty() || assignment_.checkpoint_digest().empty()) {
    return absl::OkStatus();
  }
  file->set_checkpoint("ckpt/resume.safetensors");
  return Repeat(
      "checkpoint download", [this] { return WantsOut(); },
      [&] {
        return seams_.coordinator->Download(
            assignment_.checkpoint_digest(),
            absl::StrCat(folder, "/resume.safetensors"), 0444);
      });
}

absl::Status Attempt::Prepare() {
  const auto storage = [](const absl::Status& status) {
    return WithFailureClass(status, FailureClass::kStorage);
  };
  std::error_code ignored;
  std::filesystem::remove_all(absl::StrCat(directory_, "/out"), ignored);
  for (const char* folder : {"out", "ckpt"}) {
    const absl::Status made =
        seams_.fs->CreateDirectories(absl::StrCat(directory_, "/", folder));
    if (!made.ok()) return storage(made);
  }
  TaskFile file;
  file.set_task(assignment_.task());
  file.set_fence(assignment_.fence());
  file.set_attempt(assignment_.attempt());
  file.set_kind(assignment_.kind());
  file.set_parameters_json(assignment_.parameters_json());
  file.set_checkpoint_interval_seconds(
      assignment_.checkpoint_interval_seconds());
  file.set_checkpoint_steps(assignment_.checkpoint_steps());
  file.set_threads(options_.threads);
  file.set_device(options_.device);
  file.set_numerics_class(assignment_.numerics_class());
  file.set_agent_address(seams_.hub->address());
  file.set_token(token_);
  file.set_rank(assignment_.rank());
  file.set_ranks(std::max(1, assignment_.ranks()));
  file.set_exchange(assignment_.exchange());
  file.set_trainer_rank(assignment_.trainer_rank());
  if (InGang()) {
    file.set_gang_listen(options_.gang_listen);
    file.set_reduction(assignment_.reduction());
    file.set_collective_deadline_seconds(
        absl::ToDoubleSeconds(options_.collective_deadline));
  }
  const absl::Status fetched = FetchInputs(
      assignment_, seams_.cache,
      [this](const auto& call) {
        return Repeat(
            "input download", [this] { return WantsOut(); }, call);
      },
      &file, &pins_);
  if (!fetched.ok()) return storage(fetched);
  for (const worker::v1::SourceFile& source : assignment_.source_files()) {
    const absl::StatusOr<std::string> path = ResolveSource(
        {source.role(), source.path(), source.digest()}, *seams_.data);
    if (!path.ok()) {
      return WithFailureClass(path.status(), FailureClass::kData);
    }
    worker::v1::SourceFile* resolved = file.add_source_files();
    *resolved = source;
    resolved->set_path(*path);
  }
  const absl::Status checkpoint = ResolveCheckpoint(&file);
  if (!checkpoint.ok()) return storage(WithContext(checkpoint, "checkpoint"));

  return WriteTaskFile(file, directory_, seams_.fs);
}

absl::Status Attempt::StartRunner() {
  seams_.hub->Open(
      token_, [this](const RunnerMessage& message) { OnMessage(message); });
  oom_kills_before_ = seams_.oom_kills();
  RunnerCommand command;
  command.argv = {options_.runner, "--task", directory_};
  command.environment = options_.environment;
  command.directory = directory_;
  RunnerLauncher::Listener listener;
  listener.on_line = [this](bool is_stderr, std::string line) {
    OnLine(is_stderr, std::move(line));
  };
  listener.on_exit = [this](RunnerExit exit) {
    absl::MutexLock lock(&mutex_);
    exit_ = exit;
    join_.Stop();
    changed_.SignalAll();
  };
  DASM_ASSIGN_OR_RETURN(process_,
                        seams_.launcher->Launch(command, std::move(listener)));
  return absl::OkStatus();
}

void Attempt::OnLine(bool is_stderr, std::string line) {
  if (is_stderr) {
    absl::MutexLock lock(&mutex_);
    last_words_ = line;
  }
  seams_.telemetry->AddLine(key_, is_stderr ? "WARNING" : "INFO",
                            std::move(line));
}

void Attempt::OnMessage(const RunnerMessage& message) {
  switch (message.message_case()) {
    case RunnerMessage::kProgress: {
      const worker::v1::RunnerProgress& said = message.progress();
      v1::Progress progress;
      progress.set_step(said.step());
      progress.set_total_steps(said.total_steps());
      progress.set_steps_per_second(said.steps_per_second());
      progress.set_value(said.value());
      progress.set_series(said.series());
      seams_.telemetry->AddProgress(key_, progress);
      if (subject_) {
        seams_.gauges->SetSeries(*subject_, said.series(), said.value());
        seams_.gauges->SetStepsPerSecond(*subject_, said.steps_per_second());
      }
      break;
    }
    case RunnerMessage::kPoint:
      seams_.telemetry->AddPoint(key_, message.point());
      if (subject_) {
        seams_.gauges->SetSeries(*subject_, message.point().series(),
                                 message.point().value());
      }
      break;
    case RunnerMessage::kLine:
      seams_.telemetry->AddLine(key_, message.line().severity(),
                                message.line().text());
      break;
    case RunnerMessage::kCheckpoint: {
      if (assignment_.rank() > 0) break;
      absl::MutexLock lock(&mutex_);
      // A newer one makes an uncommitted older one pointless.
      checkpoint_ = message.checkpoint();
      changed_.SignalAll();
      break;
    }
    case RunnerMessage::kFinished: {
      absl::MutexLock lock(&mutex_);
      finished_ = message.finished();
      join_.Stop();
      changed_.SignalAll();
      break;
    }
    case RunnerMessage::kGangEndpoint: {
      join_.Bring(message.gang_endpoint().member());
      absl::MutexLock lock(&mutex_);
      changed_.SignalAll();
      break;
    }
    case RunnerMessage::kHello:
    case RunnerMessage::MESSAGE_NOT_SET:
      break;
  }
}

// Until the runner's exit, or until it finished and its checkpoint is settled.
void Attempt::Supervise() {
  bool stop_sent = false;
  bool acknowledged = false;
  bool terminated = false;
  // Of the next escalation: stop -> SIGTERM -> SIGKILL.
  absl::Duration deadline = absl::InfiniteDuration();
  while (true) {
    bool send_stop = false;
    bool send_acknowledged = false;
    bool terminate = false;
    bool kill = false;
    bool commit = false;
    bool join = false;
    {
      absl::MutexLock lock(&mutex_);
      const absl::Duration now = seams_.clock->Steady();
      const bool ended = exit_.has_value();
      if (ended && (cancelled_ || !checkpoint_ || abandoned_)) return;
      if (ended && finished_ && finished_->failure_class().empty()) return;
      terminate = !ended && !terminated &&
                  (cancelled_ || (stop_sent && now >= deadline));
      kill = !ended && (terminated || acknowledged) && now >= deadline;
      send_acknowledged = finished_ && !acknowledged;
      send_stop = released_ && !stop_sent && !finished_ && !ended;
      const bool pending = checkpoint_ && !cancelled_;
      commit = pending && now >= next_checkpoint_try_;
      const absl::Duration next_join = join_.NextTry();
      join = now >= next_join;
      if (!terminate && !kill && !send_acknowledged && !send_stop && !commit &&
          !join) {
        absl::Duration next = deadline;
        if (pending) next = std::min(next, next_checkpoint_try_);
        next = std::min(next, next_join);
        WaitForChange(next);
        continue;
      }
    }
    const absl::Duration now = seams_.clock->Steady();
    if (send_stop) {
      AgentMessage message;
      message.set_stop(true);
      seams_.hub->Send(token_, message);
      stop_sent = true;
      deadline = now + options_.release_grace;
    }
    if (send_acknowledged) {
      AgentMessage message;
      message.set_acknowledged(true);
      seams_.hub->Send(token_, message);
      acknowledged = true;
      deadline = now + options_.kill_grace;
    }
    if (kill) {
      process_->Signal(SIGKILL);
      deadline = absl::InfiniteDuration();
    } else if (terminate) {
      process_->Signal(SIGTERM);
      terminated = true;
      deadline = now + options_.kill_grace;
    }
    if (commit) CommitPendingCheckpoint();
    if (join) JoinGang();
  }
}

void Attempt::JoinGang() {
  GangRendezvous::Outcome outcome = join_.Try();
  switch (outcome.result) {
    case GangRendezvous::Result::kNotYet:
      return;
    case GangRendezvous::Result::kComplete: {
      AgentMessage message;
      *message.mutable_gang() = std::move(outcome.ready);
      seams_.hub->Send(token_, message);
      return;
    }
    case GangRendezvous::Result::kStale: {
      absl::MutexLock lock(&mutex_);
      cancelled_ = true;
      return;
    }
    case GangRendezvous::Result::kFailed: {
      {
        absl::MutexLock lock(&mutex_);
        if (finished_ || exit_ || cancelled_ || released_) return;
        finished_.emplace();
        finished_->set_failure_class(
            std::string(FailureClassName(FailureClassOf(outcome.failure))));
        finished_->set_message(std::string(outcome.failure.message()));
      }
      // It waits for peers and has nothing to lose.
      process_->Signal(SIGKILL);
      return;
    }
  }
}

void Attempt::CommitPendingCheckpoint() {
  CheckpointWritten written;
  {
    absl::MutexLock lock(&mutex_);
    if (!checkpoint_) return;
    written = *checkpoint_;
  }
  const absl::Status status = committer_.CommitCheckpoint(written);
  if (status.ok()) {
    AgentMessage message;
    message.set_committed_step(written.step());
    seams_.hub->Send(token_, message);
  } else {
    DASM_LOG(WARNING, "checkpoint not committed")
        .Kv("task", directory_)
        .Kv("step", written.step())
        .Kv("error", status.message());
  }
  absl::MutexLock lock(&mutex_);
  if (IsStale(status)) cancelled_ = true;
  if (IsTransient(status)) {
    next_checkpoint_try_ = seams_.clock->Steady() + absl::Seconds(1);
  } else if (checkpoint_ && checkpoint_->step() == written.step()) {
    // Committed, or refused for good: the next one is another chance.
    checkpoint_.reset();
  }
}

}  // namespace dasm
