// The binary form of CIFAR: records of 1 (CIFAR-10) or 2 (CIFAR-100: coarse,
// fine) label bytes and 3 x 32 x 32 pixels, plane by plane.
#ifndef DASM_COMMON_DATASET_CIFAR_BINARY_H_
#define DASM_COMMON_DATASET_CIFAR_BINARY_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/dataset/reader.h"

namespace dasm {

// How many images carry each label (the last label byte).
using LabelCounts = std::array<int64_t, 256>;

// FAILED_PRECONDITION (DATA) naming the file when its size is not a positive
// multiple of a record.
absl::StatusOr<LabelCounts> CountCifarLabels(const std::string& path,
                                             int label_bytes);
// Adds the file's images to `set`. Errors as above.
absl::Status AppendCifarBinary(const std::string& path, int label_bytes,
                               ImageSet* set);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_CIFAR_BINARY_H_
