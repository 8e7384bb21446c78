// Errors that a person or a script can act on: which field or thing is wrong,
// and a reason from a closed list. Both travel as payloads of absl::Status and
// become google.rpc details on the wire (common/rpc/grpc_status.h).
#ifndef DASM_COMMON_BASE_ERROR_H_
#define DASM_COMMON_BASE_ERROR_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace dasm {

// INVALID_ARGUMENT, reason INVALID_FIELD. `field` is a path such as
// "sequence.dasm.segments"; `message` says what is wrong and the remedy.
absl::Status InvalidField(std::string_view field, std::string_view message);

// `status` with a reason in UPPER_SNAKE_CASE (at most 63 characters), e.g.
// "STALE_FENCE", and the field or thing it is about (may be empty).
absl::Status WithReason(absl::Status status, std::string_view reason,
                        std::string_view field = "");

// Empty when there is none.
std::string FieldOf(const absl::Status& status);
std::string ReasonOf(const absl::Status& status);

// `status` with "context: " before its message; code and payloads stay.
absl::Status WithContext(const absl::Status& status, std::string_view context);

// What dasmctl and the daemons print: "error: <field>: <message>", without the
// field where there is none.
std::string ErrorLine(const absl::Status& status);

// The failure taxonomy: every attempt of a task ends in success or in exactly
// one of these (docs/architecture.md has the action and budget of each).
enum class FailureClass {
  kSpec,
  kData,
  kNumeric,
  kOomDevice,
  kOomHost,
  kDeviceFault,
  kCollective,
  kNodeLost,
  kStorage,
  kPreempted,
  kInternal,
};

// "SPEC", "DATA", ...
std::string_view FailureClassName(FailureClass failure);
// False when `name` is none of them.
bool ParseFailureClass(std::string_view name, FailureClass* failure);
// The class that a status inside a runner belongs to: the payload set by
// WithFailureClass, else by its code (RESOURCE_EXHAUSTED is OOM_HOST,
// INVALID_ARGUMENT is SPEC, DATA_LOSS is STORAGE, the rest INTERNAL).
FailureClass FailureClassOf(const absl::Status& status);
absl::Status WithFailureClass(absl::Status status, FailureClass failure);

}  // namespace dasm

#endif  // DASM_COMMON_BASE_ERROR_H_
