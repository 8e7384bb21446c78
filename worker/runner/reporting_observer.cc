#include "worker/runner/reporting_observer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "worker/runner/checkpoint.h"

namespace dasm {
namespace {

using worker::v1::RunnerMessage;

constexpr absl::Duration kProgressPeriod = absl::Milliseconds(200);
// Weight of the newest rate in the average that people see.
constexpr double kRateWeight = 0.3;

void SendLine(AgentChannel* agent, std::string_view severity,
              std::string_view text) {
  RunnerMessage message;
  message.mutable_line()->set_severity(std::string(severity));
  message.mutable_line()->set_text(std::string(text));
  agent->Send(std::move(message));
}

absl::Status Storage(const absl::Status& status) {
  return status.ok() ? status
                     : WithFailureClass(status, FailureClass::kStorage);
}

}  // namespace

ReportingObserver::ReportingObserver(Options options, AgentChannel* agent,
                                     const Clock* clock)
    : options_(std::move(options)),
      agent_(agent),
      clock_(clock),
      started_(clock->Steady()),
      last_checkpoint_(started_),
      writer_(absl::StrCat(options_.task_directory, "/ckpt"),
              [agent](const std::string& name, const CheckpointInfo& info) {
                RunnerMessage message;
                auto* written = message.mutable_checkpoint();
                written->set_file(absl::StrCat("ckpt/", name));
                written->set_step(info.step);
                written->set_seconds(info.seconds);
                agent->Send(std::move(message));
              }) {}

void ReportingObserver::Progress(int64_t step, int64_t total_steps,
                                 double value, std::string_view series) {
  const absl::Duration now = clock_->Steady();
  if (now - last_progress_ < kProgressPeriod && step != total_steps) return;
  const double elapsed = absl::ToDoubleSeconds(now - last_progress_);
  if (last_progress_ != -absl::InfiniteDuration() && elapsed > 0) {
    const double rate = static_cast<double>(step - last_step_) / elapsed;
    steps_per_second_ =
        steps_per_second_ == 0
            ? rate
            : kRateWeight * rate + (1 - kRateWeight) * steps_per_second_;
  }
  last_progress_ = now;
  last_step_ = step;
  RunnerMessage message;
  auto* progress = message.mutable_progress();
  progress->set_step(step);
  progress->set_total_steps(total_steps);
  progress->set_steps_per_second(steps_per_second_);
  progress->set_value(value);
  progress->set_series(std::string(series));
  agent_->Send(std::move(message));
}

void ReportingObserver::Point(std::string_view series, int64_t step,
                              double value) {
  RunnerMessage message;
  auto* point = message.mutable_point();
  point->set_series(std::string(series));
  point->set_step(step);
  point->set_value(value);
  point->set_time_unix_micros(absl::ToUnixMicros(clock_->Now()));
  agent_->Send(std::move(message));
}

void ReportingObserver::Line(std::string_view severity, std::string_view text) {
  SendLine(agent_, severity, text);
}

TaskObserver::Wish ReportingObserver::Poll() {
  ++steps_since_checkpoint_;
  if (agent_->stop_requested()) return Wish::kStop;
  const bool by_time =
      options_.checkpoint_interval > absl::ZeroDuration() &&
      clock_->Steady() - last_checkpoint_ >= options_.checkpoint_interval;
  const bool by_steps = options_.checkpoint_steps > 0 &&
                        steps_since_checkpoint_ >= options_.checkpoint_steps;
  // A disk that is slower than the interval must not hold up the steps.
  const bool due = (by_time || by_steps) && !writer_.busy();
  return agent_->TakeCheckpointRequest() || due ? Wish::kCheckpoint
                                                : Wish::kNone;
}

absl::Status ReportingObserver::WriteCheckpoint(
    int64_t step, const std::map<std::string, TensorView>& tensors) {
  last_checkpoint_ = clock_->Steady();
  steps_since_checkpoint_ = 0;
  return Storage(writer_.Start({options_.action, step, seconds()}, tensors));
}

absl::Status ReportingObserver::Finish() { return Storage(writer_.Wait()); }

double ReportingObserver::seconds() const {
  return options_.seconds_before +
         absl::ToDoubleSeconds(clock_->Steady() - started_);
}

void PeerObserver::Line(std::string_view severity, std::string_view text) {
  SendLine(agent_, severity, text);
}

}  // namespace dasm
