// The TaskObserver of the rank in charge: tells the agent, decides when a
// checkpoint is due, writes it.
#ifndef DASM_WORKER_RUNNER_REPORTING_OBSERVER_H_
#define DASM_WORKER_RUNNER_REPORTING_OBSERVER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "worker/engine/task/task.h"
#include "worker/runner/agent_channel.h"
#include "worker/runner/checkpoint_writer.h"

namespace dasm {

// Progress is sent at most five times a second and at the last step; points
// always.
// A checkpoint is written while the next step is computed
// (checkpoint_writer.h); the agent hears of it once it is safe.
// Threads: used by the thread of rank 0 alone.
class ReportingObserver final : public TaskObserver {
 public:
  struct Options {
    std::string action;
    std::string task_directory;  // checkpoints go to its ckpt/
    // A checkpoint is due when either has passed since the last one, in time
    // or in steps; zero: that one never is.
    absl::Duration checkpoint_interval;
    int64_t checkpoint_steps = 0;
    // Computed by earlier attempts, up to the checkpoint that this one goes on
    // from.
    double seconds_before = 0;
  };

  ReportingObserver(Options options, AgentChannel* agent, const Clock* clock);

  void Progress(int64_t step, int64_t total_steps, double value,
                std::string_view series) override;
  void Point(std::string_view series, int64_t step, double value) override;
  void Line(std::string_view severity, std::string_view text) override;
  Wish Poll() override;
  // STORAGE (failure class) when the file before could not be written.
  absl::Status WriteCheckpoint(
      int64_t step, const std::map<std::string, TensorView>& tensors) override;

  // Waits for the last checkpoint; errors as WriteCheckpoint().
  absl::Status Finish();

  // Of computing, over all attempts.
  double seconds() const;

 private:
  const Options options_;
  AgentChannel* const agent_;
  const Clock* const clock_;
  const absl::Duration started_;
  absl::Duration last_checkpoint_;
  // Step boundaries since then, each of which polls once.
  int64_t steps_since_checkpoint_ = 0;
  // Of the last progress sent.
  absl::Duration last_progress_ = -absl::InfiniteDuration();
  int64_t last_step_ = 0;
  double steps_per_second_ = 0;
  CheckpointWriter writer_;
};

// Of ranks that share their process with one that speaks.
class SilentObserver final : public TaskObserver {
 public:
  void Progress(int64_t, int64_t, double, std::string_view) override {}
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view, std::string_view) override {}
  Wish Poll() override { return Wish::kNone; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }
};

// Of the first rank in a process without rank 0: its lines alone, since all
// else is the same on every rank.
class PeerObserver final : public TaskObserver {
 public:
  explicit PeerObserver(AgentChannel* agent) : agent_(agent) {}
  void Progress(int64_t, int64_t, double, std::string_view) override {}
  void Point(std::string_view, int64_t, double) override {}
  void Line(std::string_view severity, std::string_view text) override;
  Wish Poll() override { return Wish::kNone; }
  absl::Status WriteCheckpoint(
      int64_t, const std::map<std::string, TensorView>&) override {
    return absl::OkStatus();
  }

 private:
  AgentChannel* const agent_;
};

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_REPORTING_OBSERVER_H_
