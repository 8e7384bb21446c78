// An AgentChannel that keeps what it is told and asks what a test sets.
#ifndef DASM_WORKER_RUNNER_FAKE_AGENT_CHANNEL_H_
#define DASM_WORKER_RUNNER_FAKE_AGENT_CHANNEL_H_

#include <functional>
#include <optional>
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
  absl::StatusOr<worker::v1::GangReady> AwaitGang() override {
    absl::MutexLock lock(&mutex_);
    const auto known = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return gang_.has_value() || stop_;
    };
    mutex_.Await(absl::Condition(&known));
    if (gang_) return *gang_;
    return StoppedBeforeGang();
  }
  void AwaitAcknowledgement() override {}

  void CompleteGang(worker::v1::GangReady gang) {
    absl::MutexLock lock(&mutex_);
    gang_ = std::move(gang);
  }
  // The first message that `match`es, waiting for it.
  worker::v1::RunnerMessage AwaitSent(
      const std::function<bool(const worker::v1::RunnerMessage&)>& match) {
    absl::MutexLock lock(&mutex_);
    const worker::v1::RunnerMessage* found = nullptr;
    const auto sent = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      for (const auto& message : sent_) {
        if (match(message)) found = &message;
      }
      return found != nullptr;
    };
    mutex_.Await(absl::Condition(&sent));
    return *found;
  }

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
  std::optional<worker::v1::GangReady> gang_ ABSL_GUARDED_BY(mutex_);
  std::vector<worker::v1::RunnerMessage> sent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_FAKE_AGENT_CHANNEL_H_
