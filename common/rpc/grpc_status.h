// absl::Status <-> grpc::Status, with google.rpc details: ErrorInfo always,
// BadRequest when a field is named.
#ifndef DASM_COMMON_RPC_GRPC_STATUS_H_
#define DASM_COMMON_RPC_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace dasm {

// Long messages are cut and bytes that are not UTF-8 escaped, so that trailers
// stay below gRPC's limit. The reason of a status that has none is the name of
// its code.
grpc::Status ToGrpcStatus(const absl::Status& status);
// Field and reason come back as payloads (common/base/error.h).
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace dasm

#endif  // DASM_COMMON_RPC_GRPC_STATUS_H_
