#include "common/rpc/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "grpc/grpc.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace dasm {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr size_t kMaxUnixPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr int kMaxMessageBytes = 16 << 20;
constexpr int kKeepAliveMs = 30'000;

constexpr char kServiceConfig[] = R"({
  "methodConfig": [{
    "name": [{}],
    "retryPolicy": {
      "maxAttempts": 4,
      "initialBackoff": "0.1s",
      "maxBackoff": "2s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }],
  "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
})";

// Keeps gRPC's threads for the life of the process. Without it the end of the
// last server or channel stops them, which may wait 10 s for a poller.
void KeepLibrary() {
  static const bool kept = [] {
    grpc_init();
    return true;
  }();
  (void)kept;
}

bool IsLoopback(const std::string& host) {
  if (host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return ntohl(v4.s_addr) >> 24 == 127;
  }
  in6_addr v6;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 &&
         IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace

absl::Status CheckListenAddress(const std::string& field,
                                const std::string& address, bool insecure) {
  if (address.compare(0, kUnix.size(), kUnix.data(), kUnix.size()) == 0) {
    const size_t length = address.size() - kUnix.size();
    if (length > 0 && length <= kMaxUnixPath) return absl::OkStatus();
    return InvalidField(
        field, absl::StrCat("the path of \"", address, "\" has ", length,
                            " bytes, but a unix socket takes 1 to ",
                            kMaxUnixPath, "; choose a shorter folder"));
  }
  const auto malformed = [&] {
    return InvalidField(field, absl::StrCat("\"", address,
                                            "\" is not an address; write "
                                            "HOST:PORT or unix:PATH"));
  };
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return malformed();
  std::string host = address.substr(0, colon);
  int port;
  if (!absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return malformed();
  }
  const bool bracketed =
      host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  // A bare IPv6 address would be cut at its last colon.
  if (host.empty() || host == "[]" ||
      (!bracketed && host.find(':') != std::string::npos)) {
    return malformed();
  }
  if (insecure || IsLoopback(host)) return absl::OkStatus();
  return InvalidField(
      field,
      absl::StrCat("\"", address,
                   "\" can be reached from other machines and "
                   "connections are neither encrypted nor authenticated; use "
                   "127.0.0.1:PORT or unix:PATH, or give --insecure"));
}

void ConfigureServer(grpc::ServerBuilder* builder) {
  KeepLibrary();
  builder->SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder->SetMaxSendMessageSize(kMaxMessageBytes);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      kKeepAliveMs * 2 / 3);
  // Two servers on one port would each get a part of the connections.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  KeepLibrary();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepAliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The default grows to two minutes; work must go on within seconds of a
  // coordinator being back.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Otherwise channels of one process share connections and their back-off.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetServiceConfigJSON(kServiceConfig);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace dasm
