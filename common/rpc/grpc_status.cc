#include "common/rpc/grpc_status.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace dasm {
namespace {

#define DASM_SAME_CODE(absl_code, grpc_code)                     \
  static_assert(static_cast<int>(absl::StatusCode::absl_code) == \
                static_cast<int>(grpc::StatusCode::grpc_code))
DASM_SAME_CODE(kOk, OK);
DASM_SAME_CODE(kCancelled, CANCELLED);
DASM_SAME_CODE(kUnknown, UNKNOWN);
DASM_SAME_CODE(kInvalidArgument, INVALID_ARGUMENT);
DASM_SAME_CODE(kDeadlineExceeded, DEADLINE_EXCEEDED);
DASM_SAME_CODE(kNotFound, NOT_FOUND);
DASM_SAME_CODE(kAlreadyExists, ALREADY_EXISTS);
DASM_SAME_CODE(kPermissionDenied, PERMISSION_DENIED);
DASM_SAME_CODE(kResourceExhausted, RESOURCE_EXHAUSTED);
DASM_SAME_CODE(kFailedPrecondition, FAILED_PRECONDITION);
DASM_SAME_CODE(kAborted, ABORTED);
DASM_SAME_CODE(kOutOfRange, OUT_OF_RANGE);
DASM_SAME_CODE(kUnimplemented, UNIMPLEMENTED);
DASM_SAME_CODE(kInternal, INTERNAL);
DASM_SAME_CODE(kUnavailable, UNAVAILABLE);
DASM_SAME_CODE(kDataLoss, DATA_LOSS);
DASM_SAME_CODE(kUnauthenticated, UNAUTHENTICATED);
#undef DASM_SAME_CODE

constexpr char kDomain[] = "dasm.dev";
constexpr size_t kMaxReasonBytes = 63;
constexpr size_t kMaxFieldBytes = 256;
// A message travels up to three times, escaped, in trailers that gRPC limits
// to 8 KiB: beyond that the client would see RESOURCE_EXHAUSTED instead.
constexpr size_t kMaxStatusBytes = 1000;

bool IsContinuation(char c) { return (c & 0xc0) == 0x80; }

// `text` as protobuf takes it: UTF-8 (other bytes escaped, which also spares
// terminals), cut at a character. Line feeds stay.
std::string Clean(absl::string_view text, size_t max_bytes) {
  std::string clean;
  for (size_t i = 0; i < text.size();) {
    const unsigned char c = text[i];
    const size_t length = c < 0x80                ? 1
                          : c >= 0xc2 && c < 0xe0 ? 2
                          : c >= 0xe0 && c < 0xf0 ? 3
                          : c >= 0xf0 && c < 0xf5 ? 4
                                                  : 0;
    bool sound = length > 0 && i + length <= text.size();
    for (size_t k = 1; sound && k < length; ++k) {
      sound = IsContinuation(text[i + k]);
    }
    // Overlong forms, surrogates and what lies beyond U+10FFFF.
    if (sound && length > 2) {
      const unsigned char next = text[i + 1];
      sound = !(c == 0xe0 && next < 0xa0) && !(c == 0xed && next >= 0xa0) &&
              !(c == 0xf0 && next < 0x90) && !(c == 0xf4 && next >= 0x90);
    }
    const std::string part = sound ? std::string(text.substr(i, length))
                                   : absl::CEscape(text.substr(i, 1));
    if (clean.size() + part.size() > max_bytes) return clean + "...";
    clean += part;
    i += sound ? length : 1;
  }
  return clean;
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Clean(status.message(), kMaxStatusBytes);
  const std::string field = Clean(FieldOf(status), kMaxFieldBytes);
  const std::string reason = ReasonOf(status);

  google::rpc::Status details;
  details.set_code(static_cast<int>(status.code()));
  details.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_domain(kDomain);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code())
                                 : Clean(reason, kMaxReasonBytes));
  if (!field.empty()) (*info.mutable_metadata())["field"] = field;
  details.add_details()->PackFrom(info);
  if (!field.empty()) {
    google::rpc::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(field);
    violation->set_description(message);
    details.add_details()->PackFrom(bad_request);
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      details.SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const absl::Status plain(static_cast<absl::StatusCode>(status.error_code()),
                           status.error_message());
  google::rpc::Status details;
  if (status.error_details().empty() ||
      !details.ParseFromString(status.error_details())) {
    return plain;
  }
  std::string reason;
  std::string field;
  for (const auto& any : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad_request;
    if (any.UnpackTo(&info) && info.domain() == kDomain) {
      reason = info.reason();
      const auto found = info.metadata().find("field");
      if (field.empty() && found != info.metadata().end()) {
        field = found->second;
      }
    } else if (any.UnpackTo(&bad_request) &&
               bad_request.field_violations_size() > 0) {
      field = bad_request.field_violations(0).field();
    }
  }
  if (reason.empty() && field.empty()) return plain;
  return WithReason(plain, reason, field);
}

}  // namespace dasm
