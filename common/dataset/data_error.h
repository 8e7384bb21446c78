// The statuses that everything which reads a user's data returns.
#ifndef DASM_COMMON_DATASET_DATA_ERROR_H_
#define DASM_COMMON_DATASET_DATA_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace dasm {

// The remedy for a file that was damaged on its way.
inline constexpr char kFetchAgain[] = "; fetch the file again";

// FAILED_PRECONDITION "file: message" with failure class DATA and reason
// BAD_DATA. `message` says what is wrong and the remedy.
absl::Status DataError(absl::string_view file, absl::string_view message);

// `status` about `field` of the job file; payloads stay.
absl::Status AtField(absl::Status status, absl::string_view field);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_DATA_ERROR_H_
