// Addresses: "host:port", "[::1]:port" or "unix:PATH".
#ifndef DASM_COMMON_RPC_ENDPOINT_H_
#define DASM_COMMON_RPC_ENDPOINT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/channel.h"
#include "grpcpp/server_builder.h"

namespace dasm {

// INVALID_ARGUMENT naming `field` unless `address` has one of the forms, its
// unix path fits (107 bytes), and it is loopback or a unix socket or `insecure`
// is given: TLS does not exist yet, so anything else would be open to all.
absl::Status CheckListenAddress(const std::string& field,
                                const std::string& address, bool insecure);
// The settings that clients of Connect() rely on: without them a server takes
// their keep-alive for abuse and closes the connection. For every server.
void ConfigureServer(grpc::ServerBuilder* builder);

// With keep-alive, no message above 16 MiB, retries on UNAVAILABLE only
// (four attempts), and no more than 2 s between attempts to connect. Never
// through an HTTP proxy of the environment.
std::shared_ptr<grpc::Channel> Connect(const std::string& address);

}  // namespace dasm

#endif  // DASM_COMMON_RPC_ENDPOINT_H_
