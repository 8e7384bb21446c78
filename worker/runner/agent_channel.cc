#include "worker/runner/agent_channel.h"

#include <unistd.h>

#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/error.h"
#include "common/rpc/endpoint.h"
#include "dasm/worker/v1/runner_service.grpc.pb.h"

namespace dasm {
namespace {

using worker::v1::AgentMessage;
using worker::v1::GangReady;
using worker::v1::RunnerMessage;

class GrpcAgentChannel final : public AgentChannel {
 public:
  GrpcAgentChannel(const std::string& address, const std::string& token,
                   std::function<void()> on_gone)
      : stub_(worker::v1::RunnerService::NewStub(Connect(address))),
        stream_(stub_->Attach(&context_)),
        on_gone_(std::move(on_gone)) {
    RunnerMessage hello;
    hello.mutable_hello()->set_token(token);
    hello.mutable_hello()->set_pid(getpid());
    Send(std::move(hello));
    reader_ = std::thread([this] { ReadAll(); });
    writer_ = std::thread([this] { WriteAll(); });
  }

  ~GrpcAgentChannel() override {
    {
      absl::MutexLock lock(&mutex_);
      closed_ = true;
    }
    writer_.join();
    context_.TryCancel();
    reader_.join();
    (void)stream_->Finish();
  }

  void Send(RunnerMessage message) override {
    absl::MutexLock lock(&mutex_);
    queue_.push_back(std::move(message));
  }
  bool stop_requested() const override {
    absl::MutexLock lock(&mutex_);
    return stop_;
  }
  bool TakeCheckpointRequest() override {
    absl::MutexLock lock(&mutex_);
    return std::exchange(checkpoint_, false);
  }
  absl::StatusOr<GangReady> AwaitGang() override {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &GrpcAgentChannel::KnowsGang));
    if (gang_) return *std::move(gang_);
    return StoppedBeforeGang();
  }
  void AwaitAcknowledgement() override {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&acknowledged_));
  }

 private:
  void ReadAll() {
    AgentMessage message;
    while (stream_->Read(&message)) {
      absl::MutexLock lock(&mutex_);
      switch (message.message_case()) {
        case AgentMessage::kCheckpointNow:
          checkpoint_ = true;
          break;
        case AgentMessage::kStop:
          stop_ = true;
          break;
        case AgentMessage::kAcknowledged:
          acknowledged_ = true;
          break;
        case AgentMessage::kGang:
          gang_ = std::move(*message.mutable_gang());
          break;
        // The two newest files are kept whether committed or not.
        case AgentMessage::kCommittedStep:
        case AgentMessage::MESSAGE_NOT_SET:
          break;
      }
    }
    {
      absl::MutexLock lock(&mutex_);
      if (acknowledged_ || closed_) return;
    }
    on_gone_();
  }

  void WriteAll() {
    while (true) {
      std::deque<RunnerMessage> batch;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &GrpcAgentChannel::HasWork));
        if (queue_.empty()) return;
        batch.swap(queue_);
      }
      for (size_t i = 0; i < batch.size(); ++i) {
        grpc::WriteOptions options;
        // Small messages leave together.
        if (i + 1 < batch.size()) options.set_buffer_hint();
        // The reader sees the end of the stream, too, and acts on it.
        if (!stream_->Write(batch[i], options)) return;
      }
    }
  }
  bool KnowsGang() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return gang_.has_value() || stop_;
  }
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return closed_ || !queue_.empty();
  }

  grpc::ClientContext context_;
  const std::unique_ptr<worker::v1::RunnerService::Stub> stub_;
  const std::unique_ptr<grpc::ClientReaderWriter<RunnerMessage, AgentMessage>>
      stream_;
  const std::function<void()> on_gone_;
  mutable absl::Mutex mutex_;
  std::deque<RunnerMessage> queue_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool checkpoint_ ABSL_GUARDED_BY(mutex_) = false;
  bool acknowledged_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<GangReady> gang_ ABSL_GUARDED_BY(mutex_);
  std::thread reader_;
  std::thread writer_;
};

}  // namespace

absl::Status StoppedBeforeGang() {
  return WithFailureClass(
      absl::CancelledError("stopped before its gang was complete"),
      FailureClass::kPreempted);
}

std::unique_ptr<AgentChannel> ConnectToAgent(const std::string& address,
                                             const std::string& token,
                                             std::function<void()> on_gone) {
  return std::make_unique<GrpcAgentChannel>(address, token, std::move(on_gone));
}

}  // namespace dasm
