// Writes a PNG: grids of synthetic images, and test pictures.
#ifndef DASM_COMMON_DATASET_PNG_H_
#define DASM_COMMON_DATASET_PNG_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace dasm {

// `interleaved` is [height, width, channels], channels 1 (grey) or 3 (RGB), 8
// bits a sample. The same pixels give the same bytes with one libpng.
//   INVALID_ARGUMENT  another number of channels or bytes, a side not in
//                     1 .. 65535
absl::StatusOr<std::string> EncodePng(int channels, int height, int width,
                                      absl::Span<const uint8_t> interleaved);
// The same, written atomically and synced. Errors of FileSystem beside those.
absl::Status WritePng(const std::string& path, int channels, int height,
                      int width, absl::Span<const uint8_t> interleaved);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_PNG_H_
