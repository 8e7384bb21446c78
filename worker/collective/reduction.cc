#include "worker/collective/reduction.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {

std::string_view ReductionName(Reduction reduction) {
  switch (reduction) {
    case Reduction::kOrdered:
      return "ordered";
    case Reduction::kFast:
      return "fast";
  }
  return "";
}

absl::StatusOr<Reduction> ParseReduction(std::string_view name) {
  for (Reduction reduction : {Reduction::kOrdered, Reduction::kFast}) {
    if (name == ReductionName(reduction)) return reduction;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", std::string(name),
                   "\" is not a reduction; use \"ordered\" or \"fast\""));
}

absl::Status CheckReduction(std::string_view collective, bool can_order,
                            Reduction reduction) {
  if (can_order || reduction == Reduction::kFast) return absl::OkStatus();
  return WithFailureClass(
      absl::FailedPreconditionError(absl::StrCat(
          "the ", std::string(collective),
          " collective cannot add in shard order, which reduction: ordered "
          "asks for; use reduction: fast, or ranks whose collective can")),
      FailureClass::kSpec);
}

}  // namespace dasm
