// How many items a page of a list has.
#ifndef DASM_SERVER_SERVICE_PAGE_SIZE_H_
#define DASM_SERVER_SERVICE_PAGE_SIZE_H_

#include <algorithm>

#include "absl/status/statusor.h"
#include "common/base/error.h"

namespace dasm {

inline constexpr int kDefaultPage = 50;
inline constexpr int kLargestPage = 1000;

// Of a request's page_size (AIP-158): 0 is `usual`, more than `largest` is
// `largest`, below 0 is INVALID_ARGUMENT.
inline absl::StatusOr<int> PageSize(int asked, int usual = kDefaultPage,
                                    int largest = kLargestPage) {
  if (asked < 0) return InvalidField("page_size", "must not be negative");
  return asked == 0 ? usual : std::min(asked, largest);
}

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_PAGE_SIZE_H_
