#include "worker/collective/gang_network.h"

#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpc/grpc.h"
#include "grpcpp/alarm.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_context.h"
#include "worker/collective/thread_meeting.h"

namespace dasm {
namespace {

constexpr char kMethod[] = "/dasm.worker.v1.CollectiveService/Exchange";
constexpr int kPingMs = 10'000;
constexpr int kPingAnswerMs = 25'000;
constexpr int kMaxMessageBytes = 64 << 20;
// Of strangers that are not cut off before the gang is complete.
constexpr size_t kMaxAccepted = 4096;

// Both sides of a connection.
template <typename Set>
void ForEachSetting(const Set& set) {
  set(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingAnswerMs);
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingMs / 2);
  set(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, kMaxMessageBytes);
  set(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
  // Whole messages under way, in few frames and few reads.
  set(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  set(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4 << 20);
  set(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  set(GRPC_ARG_HTTP2_WRITE_BUFFER_SIZE, 1 << 20);
  set(GRPC_ARG_TCP_READ_CHUNK_SIZE, 256 << 10);
}

absl::Status EndedBecause(const grpc::Status& status) {
  return CollectiveError(absl::UnavailableError(absl::StrCat(
      "the connection ended", status.error_message().empty() ? "" : ": ",
      status.error_message())));
}

class DialledStream final : public FrameStream {
 public:
  DialledStream(const std::string& endpoint, grpc::CompletionQueue* queue) {
    grpc::ChannelArguments arguments;
    ForEachSetting(
        [&](const char* name, int value) { arguments.SetInt(name, value); });
    // A retry buffers what was sent; a broken stream is the end of a gang.
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    channel_ = grpc::CreateCustomChannel(
        endpoint, grpc::InsecureChannelCredentials(), arguments);
    context_.set_wait_for_ready(true);
    stream_ =
        grpc::GenericStub(channel_).PrepareCall(&context_, kMethod, queue);
  }

  void Call(IoTag* tag) { stream_->StartCall(tag); }
  void Read(grpc::ByteBuffer* message, IoTag* tag) override {
    stream_->Read(message, tag);
  }
  void Write(const grpc::ByteBuffer& message, IoTag* tag) override {
    stream_->Write(message, tag);
  }
  bool AskWhy(IoTag* tag) override {
    stream_->Finish(&status_, tag);
    return true;
  }
  absl::Status Why() const override { return EndedBecause(status_); }
  void Cancel() override { context_.TryCancel(); }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::Status status_;
};

}  // namespace

class GangNetwork::Accepted final : public FrameStream {
 public:
  Accepted() : stream_(&context_) {}

  void Request(Service* service, grpc::ServerCompletionQueue* queue,
               IoTag* tag) {
    service->RequestExchange(&context_, &stream_, queue, queue, tag);
  }
  void Read(grpc::ByteBuffer* message, IoTag* tag) override {
    stream_.Read(message, tag);
  }
  void Write(const grpc::ByteBuffer& message, IoTag* tag) override {
    stream_.Write(message, tag);
  }
  bool AskWhy(IoTag*) override { return false; }
  absl::Status Why() const override { return EndedBecause(grpc::Status()); }
  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_;
};

absl::StatusOr<std::unique_ptr<GangNetwork>> GangNetwork::Listen(
    const std::string& endpoint) {
  auto network = std::unique_ptr<GangNetwork>(new GangNetwork());
  grpc::ServerBuilder builder;
  ForEachSetting([&](const char* name, int value) {
    builder.AddChannelArgument(name, value);
  });
  // Two servers on one port would each get a part of the connections.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  int port = 0;
  builder.AddListeningPort(endpoint, grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&network->service_);
  network->queue_ = builder.AddCompletionQueue();
  network->server_ = builder.BuildAndStart();
  if (network->server_ == nullptr || port == 0) {
    if (network->server_ != nullptr) network->server_->Shutdown();
    network->server_ = nullptr;
    network->queue_->Shutdown();
    void* tag;
    bool ok;
    while (network->queue_->Next(&tag, &ok)) {
    }
    return CollectiveError(absl::UnavailableError(absl::StrCat(
        "cannot listen on ", endpoint,
        " for the gang; use an address of this machine with a free port")));
  }
  network->endpoint_ =
      absl::StartsWith(endpoint, "unix:")
          ? endpoint
          : absl::StrCat(endpoint.substr(0, endpoint.rfind(':')), ":", port);
  network->accept_.done = [n = network.get()](bool ok) { n->OnAccept(ok); };
  network->stop_.done = [n = network.get()](bool) { n->queue_->Shutdown(); };
  network->RequestNext();
  network->thread_ = std::thread([n = network.get()] { n->Serve(); });
  return network;
}

GangNetwork::~GangNetwork() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(events_.mutex);
    events_.stopping = true;
    for (auto& link : links_) link->Cancel();
  }
  server_->Shutdown(std::chrono::system_clock::now());
  // The queue is shut down by its own thread, which may be about to start an
  // operation; none may start after that.
  grpc::Alarm alarm;
  alarm.Set(queue_.get(), gpr_now(GPR_CLOCK_MONOTONIC), &stop_);
  thread_.join();
}

PeerLink* GangNetwork::Dial(const std::string& endpoint) {
  auto stream = std::make_unique<DialledStream>(endpoint, queue_.get());
  DialledStream* const dialled = stream.get();
  auto link = std::make_unique<PeerLink>(std::move(stream), &events_);
  PeerLink* const result = link.get();
  {
    std::lock_guard<std::mutex> lock(events_.mutex);
    links_.push_back(std::move(link));
  }
  dialled->Call(result->start_tag());
  return result;
}

std::vector<PeerLink*> GangNetwork::TakeAccepted() {
  std::lock_guard<std::mutex> lock(events_.mutex);
  return std::exchange(accepted_, {});
}

void GangNetwork::CloseDoor() {
  std::lock_guard<std::mutex> lock(events_.mutex);
  door_closed_ = true;
}

void GangNetwork::RequestNext() {
  arriving_ = std::make_unique<Accepted>();
  arriving_->Request(&service_, queue_.get(), &accept_);
}

void GangNetwork::OnAccept(bool ok) {
  if (!ok) return;  // the server is shutting down
  PeerLink* link = nullptr;
  {
    std::lock_guard<std::mutex> lock(events_.mutex);
    if (events_.stopping) return;
    if (door_closed_ || links_.size() >= kMaxAccepted) {
      arriving_->Cancel();
    } else {
      links_.push_back(
          std::make_unique<PeerLink>(std::move(arriving_), &events_));
      link = links_.back().get();
      accepted_.push_back(link);
      ++events_.version;
      events_.changed.notify_all();
    }
  }
  if (link != nullptr) link->Start();
  RequestNext();
}

void GangNetwork::Serve() {
  void* tag;
  bool ok;
  while (queue_->Next(&tag, &ok)) static_cast<IoTag*>(tag)->done(ok);
}

}  // namespace dasm
