// The idx format (MNIST, Fashion-MNIST): big-endian shape, then unsigned bytes.
// Plain or gzipped, told apart by the content.
#ifndef DASM_COMMON_DATASET_IDX_H_
#define DASM_COMMON_DATASET_IDX_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> values;
};

// The array with `dimensions` (1: labels, 3: grey images [N, H, W]).
//   FAILED_PRECONDITION (DATA)  naming the file: another element type or number
//     of dimensions, truncated, longer than its header says, damaged gzip, more
//     than 16 GiB
absl::StatusOr<IdxArray> ReadIdx(const std::string& path, int dimensions);

// Its shape, once the size of the file fits it. Cheap: header and file size,
// for gzip the size at its end (and the content where that does not fit).
absl::StatusOr<std::vector<int64_t>> ReadIdxShape(const std::string& path,
                                                  int dimensions);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_IDX_H_
