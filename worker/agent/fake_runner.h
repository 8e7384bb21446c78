// Runners without processes: a launcher and a hub in one, with which a test
// plays the runner that was started last, or the one whose token or folder it
// names.
#ifndef DASM_WORKER_AGENT_FAKE_RUNNER_H_
#define DASM_WORKER_AGENT_FAKE_RUNNER_H_

#include <signal.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "worker/agent/runner_hub.h"
#include "worker/agent/runner_launcher.h"

namespace dasm {

class FakeRunner final : public RunnerLauncher, public RunnerHub {
 public:
  // Whether runners end at SIGTERM; SIGKILL always ends them.
  void set_obeys_sigterm(bool obeys) {
    absl::MutexLock lock(&mutex_);
    obeys_sigterm_ = obeys;
  }
  bool AwaitLaunches(int count, absl::Duration timeout) const {
    absl::MutexLock lock(&mutex_);
    const auto reached = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return static_cast<int>(commands_.size()) >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&reached), timeout);
  }
  std::vector<RunnerCommand> commands() const {
    absl::MutexLock lock(&mutex_);
    return commands_;
  }
  // Of all runners, in order.
  std::vector<int> signals() const {
    absl::MutexLock lock(&mutex_);
    return signals_;
  }
  bool AwaitSignal(int signal, absl::Duration timeout) const {
    absl::MutexLock lock(&mutex_);
    const auto sent = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return !signals_.empty() && signals_.back() == signal;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&sent), timeout);
  }
  // What the agent sent to the runner of `token`; empty: to any.
  bool AwaitSent(
      const std::function<bool(const worker::v1::AgentMessage&)>& match,
      absl::Duration timeout, const std::string& token = "") const {
    absl::MutexLock lock(&mutex_);
    const auto sent = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      for (const auto& [to, message] : sent_) {
        if ((token.empty() || to == token) && match(message)) return true;
      }
      return false;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&sent), timeout);
  }

  // As the runner started last.
  void Say(const worker::v1::RunnerMessage& message) {
    std::string token;
    {
      absl::MutexLock lock(&mutex_);
      token = last_token_;
    }
    SayAs(token, message);
  }
  void Print(bool is_stderr, const std::string& line) {
    last()->listener.on_line(is_stderr, line);
  }
  void Exit(RunnerExit exit) { last()->End(exit); }

  void SayAs(const std::string& token,
             const worker::v1::RunnerMessage& message) {
    Handler handler;
    {
      absl::MutexLock lock(&mutex_);
      handler = handlers_.at(token);
    }
    handler(message);
  }
  void ExitIn(const std::string& directory, RunnerExit exit) {
    std::shared_ptr<Process> process;
    {
      absl::MutexLock lock(&mutex_);
      process = processes_.at(directory);
    }
    process->End(exit);
  }

  absl::StatusOr<std::unique_ptr<RunnerProcess>> Launch(
      const RunnerCommand& command, Listener listener) override {
    auto process = std::make_shared<Process>();
    process->listener = std::move(listener);
    absl::MutexLock lock(&mutex_);
    commands_.push_back(command);
    last_process_ = process;
    processes_[command.directory] = process;
    return std::make_unique<Handle>(this, process);
  }

  std::string address() const override { return "unix:/nowhere"; }
  void Open(const std::string& token, Handler handler) override {
    absl::MutexLock lock(&mutex_);
    last_token_ = token;
    handlers_[token] = std::move(handler);
  }
  void Send(const std::string& token,
            const worker::v1::AgentMessage& message) override {
    absl::MutexLock lock(&mutex_);
    sent_.emplace_back(token, message);
  }
  void Close(const std::string& token) override {
    absl::MutexLock lock(&mutex_);
    handlers_.erase(token);
  }

 private:
  struct Process {
    void End(RunnerExit exit) {
      {
        absl::MutexLock lock(&mutex);
        if (ended) return;
        ended = true;
      }
      listener.on_exit(exit);
    }
    Listener listener;
    absl::Mutex mutex;
    bool ended ABSL_GUARDED_BY(mutex) = false;
  };
  class Handle final : public RunnerProcess {
   public:
    Handle(FakeRunner* runner, std::shared_ptr<Process> process)
        : runner_(runner), process_(std::move(process)) {}
    ~Handle() override { process_->End({0, SIGKILL}); }
    void Signal(int signal) override {
      bool ends;
      {
        absl::MutexLock lock(&runner_->mutex_);
        runner_->signals_.push_back(signal);
        ends = signal == SIGKILL || runner_->obeys_sigterm_;
      }
      if (ends) process_->End({0, signal});
    }

   private:
    FakeRunner* const runner_;
    const std::shared_ptr<Process> process_;
  };

  std::shared_ptr<Process> last() const {
    absl::MutexLock lock(&mutex_);
    return last_process_;
  }

  mutable absl::Mutex mutex_;
  bool obeys_sigterm_ ABSL_GUARDED_BY(mutex_) = true;
  std::vector<RunnerCommand> commands_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> signals_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<std::string, worker::v1::AgentMessage>> sent_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Handler> handlers_ ABSL_GUARDED_BY(mutex_);
  std::string last_token_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Process> last_process_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<Process>> processes_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_FAKE_RUNNER_H_
