// NumPy's .npy arrays and .npz archives, as far as a synthetic set needs them.
// Input is hostile: the header is parsed by a grammar of its own (never
// evaluated), every size is checked before memory is taken, pickles are
// refused.
#ifndef DASM_COMMON_DATASET_NPY_H_
#define DASM_COMMON_DATASET_NPY_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

// The largest file or archive of arrays that is read: all of it is in memory.
inline constexpr int64_t kMaxSetBytes = int64_t{1} << 30;

struct NpyHeader {
  enum class Type { kF4, kF8, kI4, kI8 };
  Type type = Type::kF4;
  std::vector<int64_t> shape;
  int64_t data_offset = 0;  // where the elements start
  int64_t elements = 0;
};

// Of `bytes`, the start of a file of `size` bytes in all. Little endian, C
// order, format versions 1 to 3.
//   FAILED_PRECONDITION (DATA)  naming `name` and the remedy
absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view bytes, int64_t size,
                                         const std::string& name);

// The elements as float (f4, f8) or int64 (i4, i8).
//   FAILED_PRECONDITION (DATA)  another type; a NaN or an infinity, also one
//     made by rounding to float, named with its index
absl::StatusOr<std::vector<float>> NpyFloats(const NpyHeader& header,
                                             std::string_view bytes,
                                             const std::string& name);
absl::StatusOr<std::vector<int64_t>> NpyIntegers(const NpyHeader& header,
                                                 std::string_view bytes,
                                                 const std::string& name);

// The members of a .npz by name without ".npy" (stored or deflated; checked
// against their CRC-32), at most 1 GiB together. `only_heads`: at most the
// first 64 KiB of each, without the check.
//   FAILED_PRECONDITION (DATA)  naming the file: not a zip archive, truncated,
//     damaged, encrypted, another compression, a name twice
struct NpzMember {
  std::string bytes;
  int64_t size = 0;  // of the whole member
};
absl::StatusOr<std::map<std::string, NpzMember>> ReadNpz(
    std::string_view zip, const std::string& name, bool only_heads);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_NPY_H_
