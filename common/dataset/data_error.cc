#include "common/dataset/data_error.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {

absl::Status DataError(absl::string_view file, absl::string_view message) {
  return WithFailureClass(WithReason(absl::FailedPreconditionError(
                                         absl::StrCat(file, ": ", message)),
                                     "BAD_DATA"),
                          FailureClass::kData);
}

absl::Status AtField(absl::Status status, absl::string_view field) {
  if (status.ok()) return status;
  const std::string reason = ReasonOf(status);
  return WithReason(std::move(status), reason.empty() ? "BAD_DATA" : reason,
                    std::string_view(field.data(), field.size()));
}

}  // namespace dasm
