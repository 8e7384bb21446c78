#include "worker/agent/attempt.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/artifact/digest.h"
#include "common/base/ids.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "worker/runner/exit_code.h"

namespace dasm {
namespace {

using worker::v1::AgentMessage;
using worker::v1::Assignment;
using worker::v1::CheckpointWritten;
using worker::v1::RunnerFinished;
using worker::v1::RunnerMessage;
using worker::v1::TaskFile;
using worker::v1::TaskOutput;

constexpr absl::Duration kFirstPause = absl::Milliseconds(200);
constexpr absl::Duration kLongestPause = absl::Seconds(5);
// How often a deadline is compared with the clock, which may be a test's.
constexpr absl::Duration kClockCheck = absl::Milliseconds(50);
constexpr int kMissingBlobTries = 3;
// The coordinator holds a JoinGang at most ten seconds.
constexpr absl::Duration kJoinTimeout = absl::Seconds(15);

std::optional<SegmentGauges::Segment> SegmentOf(const Assignment& assignment) {
  if (assignment.kind() != "distill_segment" || assignment.rank() > 0) {
    return std::nullopt;
  }
  const auto parameters =
      nlohmann::json::parse(assignment.parameters_json(), nullptr,
                            /*allow_exceptions=*/false);
  SegmentGauges::Segment segment;
  segment.task = assignment.task();
  if (parameters.is_object() && parameters.contains("segment")) {
    segment.segment = parameters["segment"].dump();
  }
  return segment;
}

// A name the runner gave, so that it cannot lead out of `folder`.
absl::StatusOr<std::string> Inside(const std::string& folder,
                                   const std::string& name) {
  if (name.empty() || absl::StrContains(name, "..") || name[0] == '/') {
    return absl::InvalidArgumentError(
        absl::StrCat("the runner named a file outside its folder: ", name));
  }
  return absl::StrCat(folder, "/", name);
}

bool IsStale(const absl::Status& status) { return absl::IsAborted(status); }

std::string Describe(const RunnerExit& exit) {
  if (exit.signal == 0) return absl::StrCat("exit code ", exit.code);
  return absl::StrCat("signal ", exit.signal, " (", strsignal(exit.signal),
                      ")");
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
      segment_(SegmentOf(assignment_)),
      thread_([this] { Run(); }) {}

Attempt::~Attempt() { thread_.join(); }

bool Attempt::ended() const {
  absl::MutexLock lock(&mutex_);
  return ended_;
}

void Attempt::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  CancelJoin();
  changed_.SignalAll();
}

void Attempt::Release() {
  absl::MutexLock lock(&mutex_);
  released_ = true;
  CancelJoin();
  changed_.SignalAll();
}

void Attempt::Abandon() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  abandoned_ = true;
  CancelJoin();
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
  if (segment_) seams_.gauges->Remove(*segment_);
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
  file.set_threads(options_.threads);
  file.set_device(options_.device);
  file.set_numerics_class(assignment_.numerics_class());
  file.set_agent_address(seams_.hub->address());
  file.set_token(token_);
  file.set_rank(assignment_.rank());
  file.set_ranks(std::max(1, assignment_.ranks()));
  file.set_exchange(assignment_.exchange());
  if (InGang()) {
    file.set_gang_listen(options_.gang_listen);
    file.set_reduction(assignment_.reduction());
    file.set_collective_deadline_seconds(
        absl::ToDoubleSeconds(options_.collective_deadline));
  }
  for (const worker::v1::TaskInput& input : assignment_.inputs()) {
    const absl::Status fetched = Repeat(
        "input download", [this] { return WantsOut(); },
        [&] {
          DASM_ASSIGN_OR_RETURN(
              BlobCache::Pin pin,
              seams_.cache->Acquire(input.digest(), input.size_bytes()));
          (*file.mutable_inputs())[input.input()] = pin.path();
          pins_.push_back(std::move(pin));
          return absl::OkStatus();
        });
    if (!fetched.ok()) {
      return storage(
          WithContext(fetched, absl::StrCat("input ", input.input())));
    }
  }
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

  std::string json;
  google::protobuf::util::JsonPrintOptions format;
  format.add_whitespace = true;
  format.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(file, &json, format).ok()) {
    return absl::InternalError("the assignment is not valid UTF-8");
  }
  const std::string path = absl::StrCat(directory_, "/task.json");
  auto writer = seams_.fs->Create(path, 0600);
  if (!writer.ok()) return storage(writer.status());
  absl::Status written = (*writer)->Append(json);
  if (written.ok()) written = (*writer)->Commit();
  return written.ok() ? written : storage(written);
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
    CancelJoin();
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
      if (segment_ && said.series() == "matching_loss") {
        seams_.gauges->SetProgress(*segment_, said.value(),
                                   said.steps_per_second());
      }
      break;
    }
    case RunnerMessage::kPoint:
      seams_.telemetry->AddPoint(key_, message.point());
      if (segment_ && message.point().series() == "gradient_norm") {
        seams_.gauges->SetGradientNorm(*segment_, message.point().value());
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
      CancelJoin();
      changed_.SignalAll();
      break;
    }
    case RunnerMessage::kGangEndpoint: {
      absl::MutexLock lock(&mutex_);
      member_ = message.gang_endpoint().member();
      member_->set_rank(assignment_.rank());
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
      const bool joining = WantsJoin();
      join = joining && now >= next_join_try_;
      if (!terminate && !kill && !send_acknowledged && !send_stop && !commit &&
          !join) {
        absl::Duration next = deadline;
        if (pending) next = std::min(next, next_checkpoint_try_);
        if (joining) next = std::min(next, next_join_try_);
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

bool Attempt::WantsJoin() const {
  return member_ && !cancelled_ && !released_ && !finished_ && !exit_;
}

void Attempt::CancelJoin() {
  if (join_call_ != nullptr) join_call_->Cancel();
}

// Waits in the coordinator, at most as long as it holds the call; whatever else
// happens to the attempt cancels the call.
void Attempt::JoinGang() {
  const absl::Duration started = seams_.clock->Steady();
  if (join_until_ == absl::InfiniteDuration()) {
    join_until_ = started + options_.join_deadline;
  }
  worker::v1::JoinGangRequest request;
  request.set_worker(options_.worker);
  request.set_task(assignment_.task());
  request.set_fence(assignment_.fence());
  std::shared_ptr<CoordinatorLink::JoinGangCall> call;
  {
    absl::MutexLock lock(&mutex_);
    if (!WantsJoin()) return;
    *request.mutable_member() = *member_;
    call = seams_.coordinator->JoinGang(request, kJoinTimeout);
    join_call_ = call;
  }
  absl::StatusOr<worker::v1::JoinGangResponse> response = call->Wait();
  absl::Status failure;
  bool complete = false;
  {
    absl::MutexLock lock(&mutex_);
    join_call_ = nullptr;
    if (!WantsJoin()) return;
    if (response.ok() && response->complete()) {
      member_.reset();
      complete = true;
    } else if (IsStale(response.status())) {
      cancelled_ = true;
      return;
    } else if (seams_.clock->Steady() >= join_until_) {
      failure = WithFailureClass(
          absl::DeadlineExceededError(absl::StrCat(
              "its gang of ", assignment_.ranks(), " was not complete after ",
              absl::FormatDuration(options_.join_deadline),
              "; look at the other ranks' workers")),
          FailureClass::kCollective);
    } else if (response.ok()) {
      next_join_try_ = started + kFirstPause;
    } else if (IsTransient(response.status())) {
      next_join_try_ = seams_.clock->Steady() + absl::Seconds(1);
    } else {
      failure = WithContext(response.status(), "joining the gang");
    }
    if (!failure.ok()) {
      finished_.emplace();
      finished_->set_failure_class(
          std::string(FailureClassName(FailureClassOf(failure))));
      finished_->set_message(std::string(failure.message()));
    }
  }
  if (complete) {
    AgentMessage message;
    worker::v1::GangReady* gang = message.mutable_gang();
    gang->set_secret(response->secret());
    gang->mutable_members()->Swap(response->mutable_members());
    seams_.hub->Send(token_, message);
  } else if (!failure.ok()) {
    // It waits for peers and has nothing to lose.
    process_->Signal(SIGKILL);
  }
}

void Attempt::CommitPendingCheckpoint() {
  CheckpointWritten written;
  {
    absl::MutexLock lock(&mutex_);
    if (!checkpoint_) return;
    written = *checkpoint_;
  }
  const absl::Status status = CommitCheckpoint(written);
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

absl::Status Attempt::CommitCheckpoint(const CheckpointWritten& written) {
  DASM_ASSIGN_OR_RETURN(const std::string path,
                        Inside(directory_, written.file()));
  DASM_ASSIGN_OR_RETURN(const Hasher::Result hashed, HashFile(seams_.fs, path));
  DASM_RETURN_IF_ERROR(
      seams_.coordinator->Upload(hashed.digest, hashed.size_bytes, path));
  worker::v1::CommitCheckpointRequest request;
  request.set_worker(options_.worker);
  request.set_task(assignment_.task());
  request.set_fence(assignment_.fence());
  request.set_digest(hashed.digest);
  request.set_size_bytes(hashed.size_bytes);
  request.set_step(written.step());
  request.set_seconds(written.seconds());
  return seams_.coordinator->CommitCheckpoint(request);
}

void Attempt::ReportEnd() {
  std::optional<RunnerFinished> finished;
  RunnerExit exit;
  std::string last_words;
  bool overdue = false;
  {
    absl::MutexLock lock(&mutex_);
    if (abandoned_) return;
    finished = finished_;
    const bool succeeded = finished && finished->failure_class().empty();
    if (cancelled_ && !succeeded) return;
    exit = exit_.value_or(RunnerExit());
    last_words = last_words_;
    if (!finished && released_) {
      // It did not stop in time; the last committed checkpoint counts.
      overdue = true;
      finished.emplace();
      finished->set_failure_class("PREEMPTED");
      finished->set_message("ended before it wrote a checkpoint");
    }
  }
  // The history of a finished task is complete before its result is.
  const absl::Status flushed = seams_.telemetry->Flush(key_);
  if (!flushed.ok()) {
    DASM_LOG(WARNING, "telemetry will be late")
        .Kv("task", directory_)
        .Kv("error", flushed.message());
  }
  if (finished && finished->failure_class().empty()) {
    if (assignment_.rank() == 0) CommitOutputs(*finished);
    return;
  }
  FailureClass failure = FailureClass::kInternal;
  std::string message;
  if (finished) {
    ParseFailureClass(finished->failure_class(), &failure);
    message = finished->message();
  } else {
    if (exit.signal == 0) {
      failure = FailureOfExitCode(exit.code).value_or(FailureClass::kInternal);
    } else if (exit.signal == SIGKILL &&
               seams_.oom_kills() > oom_kills_before_) {
      failure = FailureClass::kOomHost;
    }
    message =
        absl::StrCat("the runner ended without a result: ", Describe(exit),
                     last_words.empty() ? "" : "; ", last_words);
  }
  if (overdue || !InGang() || LetOthersSpeak(failure)) {
    ReportFailure(failure, message);
  }
}

void Attempt::CommitOutputs(const RunnerFinished& finished) {
  worker::v1::CommitResultRequest request;
  request.set_worker(options_.worker);
  request.set_task(assignment_.task());
  request.set_fence(assignment_.fence());
  request.set_summary_json(finished.summary_json());
  request.set_seconds(finished.seconds());
  std::vector<std::string> paths;
  const auto hash = [&]() -> absl::Status {
    for (const auto& [name, file] : finished.outputs()) {
      DASM_ASSIGN_OR_RETURN(paths.emplace_back(),
                            Inside(absl::StrCat(directory_, "/out"), file));
      DASM_ASSIGN_OR_RETURN(const Hasher::Result hashed,
                            HashFile(seams_.fs, paths.back()));
      TaskOutput* output = request.add_outputs();
      output->set_output(name);
      output->set_digest(hashed.digest);
      output->set_size_bytes(hashed.size_bytes);
      for (const std::string& chunk : hashed.chunk_digests) {
        output->add_chunk_digests(chunk);
      }
    }
    return absl::OkStatus();
  };
  if (const absl::Status hashed = hash(); !hashed.ok()) {
    ReportFailure(FailureClass::kStorage,
                  absl::StrCat("output: ", hashed.message()));
    return;
  }
  const auto commit = [&]() -> absl::Status {
    for (int i = 0; i < request.outputs_size(); ++i) {
      DASM_RETURN_IF_ERROR(seams_.coordinator->Upload(
          request.outputs(i).digest(), request.outputs(i).size_bytes(),
          paths[i]));
    }
    return seams_.coordinator->CommitResult(request);
  };
  absl::Status status;
  for (int i = 0; i < kMissingBlobTries; ++i) {
    status = Repeat(
        "result", [this] { return Abandoned(); }, commit);
    if (ReasonOf(status) != "MISSING_BLOBS") break;
  }
  if (status.ok()) {
    // The next task probably reads them here.
    for (int i = 0; i < request.outputs_size(); ++i) {
      const absl::Status admitted =
          seams_.cache->Admit(request.outputs(i).digest(),
                              request.outputs(i).size_bytes(), paths[i]);
      if (!admitted.ok()) {
        DASM_LOG(INFO, "output not cached").Kv("error", admitted.message());
      }
    }
    return;
  }
  if (IsStale(status) || Abandoned()) {
    DASM_LOG(INFO, "result not wanted any more")
        .Kv("task", directory_)
        .Kv("error", status.message());
    return;
  }
  ReportFailure(
      FailureClass::kStorage,
      absl::StrCat("the result could not be stored: ", status.message()));
}

// A report ends the attempt of every rank, so its order matters: a peer's
// cause before the COLLECTIVE that it became here, and rank 0's last checkpoint
// before what all ranks ended with.
bool Attempt::LetOthersSpeak(FailureClass failure) {
  absl::Duration patience = absl::ZeroDuration();
  if (failure == FailureClass::kCollective) {
    patience = options_.cause_grace;
  } else if (assignment_.rank() > 0 && failure == FailureClass::kNumeric) {
    patience = options_.cause_grace / 2;
  } else if (assignment_.rank() > 0 && failure == FailureClass::kPreempted) {
    patience = options_.release_grace / 2;
  }
  const absl::Duration until = seams_.clock->Steady() + patience;
  absl::MutexLock lock(&mutex_);
  while (!cancelled_ && seams_.clock->Steady() < until) WaitForChange(until);
  return !cancelled_;
}

void Attempt::ReportFailure(FailureClass failure, const std::string& message) {
  DASM_LOG(WARNING, "attempt failed")
      .Kv("task", directory_)
      .Kv("class", std::string(FailureClassName(failure)))
      .Kv("message", message);
  worker::v1::ReportFailureRequest request;
  request.set_worker(options_.worker);
  request.set_task(assignment_.task());
  request.set_fence(assignment_.fence());
  request.mutable_failure()->set_failure_class(
      std::string(FailureClassName(failure)));
  request.mutable_failure()->set_message(
      InGang() ? absl::StrCat("rank ", assignment_.rank(), " on ",
                              options_.worker, ": ", message)
               : message);
  request.mutable_failure()->set_task(assignment_.task());
  const auto report = [&]() -> absl::Status {
    const absl::Status status = seams_.coordinator->ReportFailure(request);
    if (IsStale(status) || absl::IsInvalidArgument(status) ||
        absl::IsNotFound(status)) {
      return status;
    }
    // Whatever else is wrong over there passes, and until the failure is known
    // the task waits for an attempt that is no more.
    return status.ok() ? status : absl::UnavailableError(status.message());
  };
  const absl::Status status = Repeat(
      "failure report",
      [this] {
        absl::MutexLock lock(&mutex_);
        return cancelled_;
      },
      report);
  if (!status.ok() && !IsStale(status)) {
    DASM_LOG(WARNING, "failure not reported")
        .Kv("task", directory_)
        .Kv("error", status.message());
  }
}

}  // namespace dasm
