// An AgentChannel that keeps what it is told and asks what a test sets.
#ifndef DASM_WORKER_RUNNER_FAKE_AGENT_CHANNEL_H_
#define DASM_WORKER_RUNNER_FAKE_AGENT_CHANNEL_H_

#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/runner/agent_channel.h"

namespace dasm {

class FakeAgentChannel final : public AgentChannel {
 public:
  void Send(worker::v1::RunnerMessage message) override {
    absl::MutexLock lock(&mutex_);
    sent_.push_back(std::move(message));
  }
  bool stop_requested() const override {
    absl::MutexLock lock(&mutex_);
    return stop_;
  }
  bool TakeCheckpointRequest() override {
    absl::MutexLock lock(&mutex_);
    return std::exchange(checkpoint_, false);
  }
  void AwaitAcknowledgement() override {}

  void RequestStop() {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  void RequestCheckpoint() {
    absl::MutexLock lock(&mutex_);
    checkpoint_ = true;
  }
  std::vector<worker::v1::RunnerMessage> sent() const {
    absl::MutexLock lock(&mutex_);
    return sent_;
  }

 private:
  mutable absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool checkpoint_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<worker::v1::RunnerMessage> sent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_FAKE_AGENT_CHANNEL_H_
