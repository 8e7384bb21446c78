#include "worker/agent/runner_server.h"

#include <stdlib.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/endpoint.h"
#include "dasm/worker/v1/runner_service.grpc.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace dasm {
namespace {

using worker::v1::AgentMessage;
using worker::v1::RunnerMessage;
using Stream = grpc::ServerReaderWriter<AgentMessage, RunnerMessage>;

constexpr char kFolderPrefix[] = "dasm-worker-";

// One runner's place, from Open to Close.
class Session {
 public:
  explicit Session(RunnerHub::Handler handler) : handler_(std::move(handler)) {}

  // False when another runner came first or the session is closed.
  bool Attach(grpc::ServerContext* context, Stream* stream) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || taken_) return false;
    taken_ = true;
    context_ = context;
    stream_ = stream;
    for (const AgentMessage& message : waiting_) stream_->Write(message);
    waiting_.clear();
    return true;
  }
  void Detach() {
    absl::MutexLock lock(&mutex_);
    context_ = nullptr;
    stream_ = nullptr;
  }
  void Handle(const RunnerMessage& message) { handler_(message); }
  void Send(const AgentMessage& message) {
    absl::MutexLock lock(&mutex_);
    if (stream_ != nullptr) {
      stream_->Write(message);
    } else if (!taken_) {
      waiting_.push_back(message);
    }
  }
  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    if (context_ != nullptr) context_->TryCancel();
    mutex_.Await(absl::Condition(
        +[](Stream** stream) { return *stream == nullptr; }, &stream_));
  }

 private:
  const RunnerHub::Handler handler_;
  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool taken_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ServerContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  Stream* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::deque<AgentMessage> waiting_ ABSL_GUARDED_BY(mutex_);
};

class Sessions {
 public:
  void Add(const std::string& token, RunnerHub::Handler handler) {
    absl::MutexLock lock(&mutex_);
    sessions_[token] = std::make_shared<Session>(std::move(handler));
  }
  std::shared_ptr<Session> Find(const std::string& token) {
    absl::MutexLock lock(&mutex_);
    const auto found = sessions_.find(token);
    return found == sessions_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Session> Take(const std::string& token) {
    absl::MutexLock lock(&mutex_);
    const auto found = sessions_.find(token);
    if (found == sessions_.end()) return nullptr;
    std::shared_ptr<Session> session = std::move(found->second);
    sessions_.erase(found);
    return session;
  }

 private:
  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Session>> sessions_
      ABSL_GUARDED_BY(mutex_);
};

class Service final : public worker::v1::RunnerService::Service {
 public:
  explicit Service(Sessions* sessions) : sessions_(sessions) {}

  grpc::Status Attach(grpc::ServerContext* context, Stream* stream) override {
    RunnerMessage message;
    if (!stream->Read(&message) || !message.has_hello()) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                          "the first message must be a hello");
    }
    const std::shared_ptr<Session> session =
        sessions_->Find(message.hello().token());
    if (session == nullptr || !session->Attach(context, stream)) {
      return grpc::Status(grpc::StatusCode::PERMISSION_DENIED,
                          "no attempt waits for a runner with this token");
    }
    do {
      session->Handle(message);
    } while (stream->Read(&message));
    session->Detach();
    return grpc::Status::OK;
  }

 private:
  Sessions* const sessions_;
};

// Only a folder of ours: the record may be old or damaged.
void RemoveFolder(const std::string& folder) {
  const std::filesystem::path path(folder);
  if (path.filename().string().rfind(kFolderPrefix, 0) != 0) return;
  std::error_code ignored;
  std::filesystem::remove(path / "agent.sock", ignored);
  std::filesystem::remove(path, ignored);
}

}  // namespace

struct RunnerServer::State {
  std::string record;
  std::string folder;
  Sessions sessions;
  Service service{&sessions};
  std::unique_ptr<grpc::Server> server;
};

absl::StatusOr<std::unique_ptr<RunnerServer>> RunnerServer::Start(
    const std::string& record) {
  {
    std::ifstream file(record);
    std::string folder;
    if (std::getline(file, folder)) RemoveFolder(folder);
  }
  std::error_code error;
  const std::filesystem::path base =
      std::filesystem::temp_directory_path(error);
  std::string folder = absl::StrCat(error ? "/tmp" : base.string(), "/",
                                    kFolderPrefix, "XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot create a folder for the runners' socket in ",
                     base.string(), "; set TMPDIR to a writable folder"));
  }
  auto state = std::make_unique<State>();
  state->record = record;
  state->folder = folder;
  std::ofstream(record) << folder << "\n";
  const std::string address = absl::StrCat("unix:", folder, "/agent.sock");
  grpc::ServerBuilder builder;
  ConfigureServer(&builder);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&state->service);
  state->server = builder.BuildAndStart();
  if (state->server == nullptr) {
    RemoveFolder(folder);
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on ", address,
                     "; set TMPDIR to a folder with a shorter path"));
  }
  return std::unique_ptr<RunnerServer>(new RunnerServer(std::move(state)));
}

RunnerServer::RunnerServer(std::unique_ptr<State> state)
    : state_(std::move(state)) {}

RunnerServer::~RunnerServer() {
  state_->server->Shutdown(std::chrono::system_clock::now());
  state_->server->Wait();
  RemoveFolder(state_->folder);
  std::error_code ignored;
  std::filesystem::remove(state_->record, ignored);
}

std::string RunnerServer::address() const {
  return absl::StrCat("unix:", state_->folder, "/agent.sock");
}

void RunnerServer::Open(const std::string& token, Handler handler) {
  state_->sessions.Add(token, std::move(handler));
}

void RunnerServer::Send(const std::string& token, const AgentMessage& message) {
  if (const auto session = state_->sessions.Find(token)) {
    session->Send(message);
  }
}

void RunnerServer::Close(const std::string& token) {
  if (const auto session = state_->sessions.Take(token)) session->Close();
}

}  // namespace dasm
