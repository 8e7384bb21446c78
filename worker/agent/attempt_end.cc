// The part of Attempt that tells the coordinator how it ended: result, memory,
// failure.
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "worker/agent/attempt.h"
#include "worker/agent/exit_class.h"

namespace dasm {

void Attempt::ReportEnd() {
  std::optional<worker::v1::RunnerFinished> finished;
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
  NoteMemory(finished.value_or(worker::v1::RunnerFinished()), exit);
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
    failure = ClassOfExit(exit, seams_.oom_kills() > oom_kills_before_);
    message =
        absl::StrCat("the runner ended without a result: ", Describe(exit),
                     last_words.empty() ? "" : "; ", last_words);
  }
  if (overdue || !InGang() || LetOthersSpeak(failure)) {
    ReportFailure(failure, message);
  }
}

void Attempt::NoteMemory(const worker::v1::RunnerFinished& finished,
                         const RunnerExit& exit) {
  v1::RankMemory memory;
  // One that was killed told nothing, but the kernel did.
  memory.set_host_bytes(finished.peak_memory_bytes() > 0
                            ? finished.peak_memory_bytes()
                            : exit.peak_memory_bytes);
  memory.set_device_bytes(finished.peak_device_bytes());
  memory.set_device_reserved_bytes(finished.peak_device_reserved_bytes());
  if (memory.host_bytes() > 0) {
    seams_.telemetry->SetMemory(key_, std::move(memory));
  }
}

void Attempt::CommitOutputs(const worker::v1::RunnerFinished& finished) {
  const absl::Status status =
      committer_.CommitResult(finished, [this](const auto& call) {
        return Repeat(
            "result", [this] { return Abandoned(); }, call);
      });
  if (status.ok()) return;
  if (IsStale(status) || Abandoned()) {
    DASM_LOG(INFO, "result not wanted any more")
        .Kv("task", directory_)
        .Kv("error", status.message());
    return;
  }
  ReportFailure(FailureClass::kStorage, std::string(status.message()));
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
