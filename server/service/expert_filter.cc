#include "server/service/expert_filter.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

constexpr char kTokenVersion[] = "e1";

absl::Time FromProto(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) +
         absl::Nanoseconds(time.nanos());
}

absl::Status Malformed(absl::string_view term) {
  return InvalidField(
      "filter",
      absl::StrCat("\"", term,
                   "\" is not one of dataset=NAME, network=NAME, "
                   "in_use=true|false, create_time<\"TIME\", "
                   "use_time<\"TIME\" (RFC 3339); join several by AND"));
}

absl::StatusOr<absl::Time> ReadTime(absl::string_view term,
                                    absl::string_view value) {
  absl::ConsumePrefix(&value, "\"");
  absl::ConsumeSuffix(&value, "\"");
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, value, &time, &error)) {
    return Malformed(term);
  }
  return time;
}

// The filter's part of a token.
std::string Fingerprint(const std::string& filter) {
  return Sha256(filter).substr(0, 23);
}

}  // namespace

bool ExpertFilter::Matches(const v1::Expert& expert) const {
  return (!dataset || *dataset == expert.dataset()) &&
         (!network || *network == expert.network()) &&
         (!in_use || *in_use == !expert.jobs().empty()) &&
         FromProto(expert.create_time()) < created_before &&
         FromProto(expert.use_time()) < used_before;
}

absl::StatusOr<ExpertFilter> ParseExpertFilter(const std::string& text) {
  ExpertFilter filter;
  if (absl::StripAsciiWhitespace(text).empty()) return filter;
  for (absl::string_view term : absl::StrSplit(text, " AND ")) {
    term = absl::StripAsciiWhitespace(term);
    absl::string_view value = term;
    if (absl::ConsumePrefix(&value, "dataset=") && !value.empty()) {
      filter.dataset = std::string(value);
    } else if (absl::ConsumePrefix(&value, "network=") && !value.empty()) {
      filter.network = std::string(value);
    } else if (term == "in_use=true" || term == "in_use=false") {
      filter.in_use = term == "in_use=true";
    } else if (absl::ConsumePrefix(&value, "create_time<")) {
      DASM_ASSIGN_OR_RETURN(filter.created_before, ReadTime(term, value));
    } else if (absl::ConsumePrefix(&value, "use_time<")) {
      DASM_ASSIGN_OR_RETURN(filter.used_before, ReadTime(term, value));
    } else {
      return Malformed(term);
    }
  }
  return filter;
}

std::string EncodeExpertToken(const std::string& filter,
                              const ExpertPosition& last) {
  return absl::WebSafeBase64Escape(
      absl::StrCat(kTokenVersion, "\n", Fingerprint(filter), "\n",
                   absl::ToUnixNanos(last.group.end_time), "\n", last.group.key,
                   "\n", last.number));
}

absl::StatusOr<ExpertPosition> DecodeExpertToken(const std::string& filter,
                                                 const std::string& token) {
  std::string plain;
  std::vector<std::string> parts;
  if (absl::WebSafeBase64Unescape(token, &plain)) {
    parts = absl::StrSplit(plain, '\n');
  }
  ExpertPosition position;
  int64_t nanoseconds = 0;
  if (parts.size() != 5 || parts[0] != kTokenVersion ||
      parts[1] != Fingerprint(filter) ||
      !absl::SimpleAtoi(parts[2], &nanoseconds) ||
      !absl::SimpleAtoi(parts[4], &position.number)) {
    return InvalidField("page_token",
                        "is not one that this service gave for this filter; "
                        "start without");
  }
  position.group = {absl::FromUnixNanos(nanoseconds), parts[3]};
  return position;
}

}  // namespace dasm
