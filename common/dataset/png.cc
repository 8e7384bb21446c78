#include "common/dataset/png.h"

#include <png.h>

#include "absl/strings/str_format.h"
#include "common/base/file_system.h"
#include "common/base/status_macros.h"

namespace dasm {

absl::StatusOr<std::string> EncodePng(int channels, int height, int width,
                                      absl::Span<const uint8_t> interleaved) {
  constexpr int kMaxSide = 65535;
  if ((channels != 1 && channels != 3) || height < 1 || width < 1 ||
      height > kMaxSide || width > kMaxSide ||
      interleaved.size() != size_t{1} * channels * height * width) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a PNG of %d x %d x %d cannot be made of %d bytes",
                        height, width, channels, interleaved.size()));
  }
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = width;
  image.height = height;
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&image, bytes.data(), &size,
                                /*convert_to_8bit=*/0, interleaved.data(),
                                /*row_stride=*/0, /*colormap=*/nullptr) == 0) {
    return absl::InternalError(absl::StrFormat("libpng: %s", image.message));
  }
  bytes.resize(size);
  return bytes;
}

absl::Status WritePng(const std::string& path, int channels, int height,
                      int width, absl::Span<const uint8_t> interleaved) {
  DASM_ASSIGN_OR_RETURN(const std::string bytes,
                        EncodePng(channels, height, width, interleaved));
  return WriteFileAtomically(LocalFileSystem(), path, bytes);
}

}  // namespace dasm
