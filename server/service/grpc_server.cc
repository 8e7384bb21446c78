#include "server/service/grpc_server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/endpoint.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace dasm {
namespace {

constexpr absl::string_view kUnix = "unix:";
constexpr int kStreamThreads = 4;

absl::Status InUse(const std::string& address, const std::string& why) {
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "cannot listen on ", address, ": ", why, "; choose another address")),
      "ADDRESS_UNUSABLE", "listen");
}

// A socket file that its process left behind keeps the next one from binding.
absl::Status RemoveStaleSocket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return InUse(absl::StrCat(kUnix, path), "the path is too long");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::OkStatus();  // binding will tell
  const int connected =
      connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  const int error = errno;
  close(fd);
  if (connected == 0) {
    return InUse(absl::StrCat(kUnix, path), "another process listens there");
  }
  if (error == ECONNREFUSED) unlink(path.c_str());
  return absl::OkStatus();
}

}  // namespace

GrpcServer::GrpcServer(const Options& options, const Parts& parts)
    : address_(options.address),
      metrics_(parts.metrics),
      pool_(kStreamThreads),
      jobs_(parts.manager, parts.store, parts.telemetry, &pool_, &metrics_),
      artifacts_(parts.manager, parts.blobs, &pool_, parts.metrics, &metrics_),
      cluster_(parts.manager, options.version, SystemClock()->Now(), &metrics_),
      experts_(parts.manager, parts.store, parts.blobs, &metrics_),
      workers_(parts.manager, &metrics_) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(Options options,
                                                              Parts parts) {
  if (absl::StartsWith(options.address, kUnix)) {
    DASM_RETURN_IF_ERROR(
        RemoveStaleSocket(options.address.substr(kUnix.size())));
  }
  std::unique_ptr<GrpcServer> result(new GrpcServer(options, parts));
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  ConfigureServer(&builder);
  int port = 0;
  builder.AddListeningPort(options.address, grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&result->jobs_);
  builder.RegisterService(&result->artifacts_);
  builder.RegisterService(&result->cluster_);
  builder.RegisterService(&result->experts_);
  builder.RegisterService(&result->workers_);
  result->server_ = builder.BuildAndStart();
  if (result->server_ == nullptr || port == 0) {
    return InUse(options.address,
                 "it is in use, or this process may not have it");
  }
  if (!absl::StartsWith(options.address, kUnix)) {
    result->address_ = absl::StrCat(
        options.address.substr(0, options.address.rfind(':')), ":", port);
  }
  return result;
}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

void GrpcServer::Shutdown(absl::Duration patience) {
  if (server_ == nullptr) return;
  if (auto* health = server_->GetHealthCheckService(); health != nullptr) {
    health->SetServingStatus(false);
  }
  server_->Shutdown(std::chrono::system_clock::now() +
                    absl::ToChronoMilliseconds(patience));
  server_->Wait();
  server_.reset();
}

}  // namespace dasm
