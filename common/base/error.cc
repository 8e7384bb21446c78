#include "common/base/error.h"

#include <array>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

constexpr char kFieldUrl[] = "dasm.dev/field";
constexpr char kReasonUrl[] = "dasm.dev/reason";
constexpr char kFailureUrl[] = "dasm.dev/failure";

constexpr std::array<std::pair<FailureClass, std::string_view>, 11> kNames = {{
    {FailureClass::kSpec, "SPEC"},
    {FailureClass::kData, "DATA"},
    {FailureClass::kNumeric, "NUMERIC"},
    {FailureClass::kOomDevice, "OOM_DEVICE"},
    {FailureClass::kOomHost, "OOM_HOST"},
    {FailureClass::kDeviceFault, "DEVICE_FAULT"},
    {FailureClass::kCollective, "COLLECTIVE"},
    {FailureClass::kNodeLost, "NODE_LOST"},
    {FailureClass::kStorage, "STORAGE"},
    {FailureClass::kPreempted, "PREEMPTED"},
    {FailureClass::kInternal, "INTERNAL"},
}};

absl::Cord ToCord(std::string_view text) {
  return absl::Cord(absl::string_view(text.data(), text.size()));
}

std::string Payload(const absl::Status& status, const char* url) {
  auto payload = status.GetPayload(url);
  return payload ? std::string(*payload) : std::string();
}

}  // namespace

absl::Status InvalidField(std::string_view field, std::string_view message) {
  return WithReason(absl::InvalidArgumentError(
                        absl::string_view(message.data(), message.size())),
                    "INVALID_FIELD", field);
}

absl::Status WithReason(absl::Status status, std::string_view reason,
                        std::string_view field) {
  status.SetPayload(kReasonUrl, ToCord(reason));
  if (!field.empty()) status.SetPayload(kFieldUrl, ToCord(field));
  return status;
}

std::string FieldOf(const absl::Status& status) {
  return Payload(status, kFieldUrl);
}

std::string ReasonOf(const absl::Status& status) {
  return Payload(status, kReasonUrl);
}

absl::Status WithContext(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status result(
      status.code(),
      absl::StrCat(absl::string_view(context.data(), context.size()), ": ",
                   status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    result.SetPayload(url, payload);
  });
  return result;
}

std::string ErrorLine(const absl::Status& status) {
  const std::string field = FieldOf(status);
  return field.empty() ? absl::StrCat("error: ", status.message())
                       : absl::StrCat("error: ", field, ": ", status.message());
}

std::string_view FailureClassName(FailureClass failure) {
  for (const auto& [value, name] : kNames) {
    if (value == failure) return name;
  }
  return "INTERNAL";
}

bool ParseFailureClass(std::string_view text, FailureClass* failure) {
  for (const auto& [value, name] : kNames) {
    if (name == text) {
      *failure = value;
      return true;
    }
  }
  return false;
}

FailureClass FailureClassOf(const absl::Status& status) {
  FailureClass failure;
  if (ParseFailureClass(Payload(status, kFailureUrl), &failure)) return failure;
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return FailureClass::kOomHost;
    case absl::StatusCode::kInvalidArgument:
      return FailureClass::kSpec;
    case absl::StatusCode::kDataLoss:
      return FailureClass::kStorage;
    default:
      return FailureClass::kInternal;
  }
}

absl::Status WithFailureClass(absl::Status status, FailureClass failure) {
  status.SetPayload(kFailureUrl, ToCord(FailureClassName(failure)));
  return status;
}

}  // namespace dasm
