// Decodes one picture and brings it to the square that a network wants.
//
// Input is hostile: sides are at most 16384, pictures at most 64 Mpixel, files
// at most 64 MiB, and whatever libpng or libjpeg complains about, missing data
// included, is an error and never a crash or a grey area.
#ifndef DASM_COMMON_DATASET_IMAGE_H_
#define DASM_COMMON_DATASET_IMAGE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

// 8 bits a sample, row by row, channels interleaved. 1 channel is grey, 2 grey
// with alpha, 3 RGB, 4 RGB with alpha.
struct Picture {
  int channels = 0;
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;  // [H, W, C]
};

// PNG (16 bits are cut to 8, palettes expanded) or JPEG (grey or RGB), told
// apart by their first bytes. No colour management: the stored sample values.
//   FAILED_PRECONDITION (DATA)  naming `name`
absl::StatusOr<Picture> DecodePicture(std::string_view bytes,
                                      const std::string& name);
// The same of a file.
absl::StatusOr<Picture> ReadPicture(const std::string& path);

// Scales the shorter side to `side` (the longer one to
// floor(side * longer / shorter)) with a triangle filter widened by the scale
// (bilinear with antialiasing), then cuts out the centre. Rows first, then
// columns, in integer arithmetic with 22 fractional bits and 8-bit rounding
// between the passes: the same bytes on every machine, and those of Pillow and
// torchvision (newer Pillow turns the passes round for very tall pictures). A
// picture of that size is returned unchanged. side in 1 .. 16384.
Picture ResizeAndCrop(const Picture& picture, int side);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_IMAGE_H_
