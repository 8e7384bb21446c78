#include "worker/collective/shard_check.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/error.h"

namespace dasm {
namespace {

absl::Status CheckFirst(int first, int size) {
  if (first >= 0 && first < size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "shards of rank %d and those behind it, of %d ranks", first, size));
}

}  // namespace

absl::Status CheckSum(int64_t rows, int64_t shards, int64_t length, int first,
                      int size) {
  if (shards >= 1 && rows == shards * length) return CheckFirst(first, size);
  return absl::InvalidArgumentError(
      absl::StrFormat("a sum over %d shards of %d elements was given %d "
                      "elements",
                      shards, length, rows));
}

absl::Status CheckGather(int64_t rows, int64_t shards, int first, int size) {
  if (shards >= 1 && rows % shards == 0) return CheckFirst(first, size);
  return absl::InvalidArgumentError(absl::StrFormat(
      "a gather of %d shards was given %d elements", shards, rows));
}

absl::Status AbortStatus(absl::Status why) {
  if (why.ok()) why = absl::UnavailableError("the gang was aborted");
  // INTERNAL is what FailureClassOf says of a status without a class.
  if (FailureClassOf(why) == FailureClass::kInternal) {
    why = WithFailureClass(std::move(why), FailureClass::kCollective);
  }
  return why;
}

}  // namespace dasm
