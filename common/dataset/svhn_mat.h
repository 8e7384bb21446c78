// SVHN's cropped digits, train_32x32.mat and test_32x32.mat: MATLAB 5 files
// with X uint8 [32, 32, 3, N] and y [N, 1]; label 10 is digit 0.
#ifndef DASM_COMMON_DATASET_SVHN_MAT_H_
#define DASM_COMMON_DATASET_SVHN_MAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/reader.h"

namespace dasm {

// Labels 0 .. 9. FAILED_PRECONDITION (DATA) naming the file: not a MATLAB 5
// file, truncated, X or y missing or of another type or shape, counts that
// differ, a label not in 1 .. 10. X's content is not read.
absl::StatusOr<std::vector<int64_t>> ReadSvhnLabels(const std::string& path);
// Errors as above.
absl::StatusOr<ImageSet> ReadSvhnMat(const std::string& path);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_SVHN_MAT_H_
