// libFuzzer: no bytes may crash the decoding of PNG and JPEG pictures or their
// scaling, and a picture has the samples that its sides promise.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/dataset/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto picture = dasm::DecodePicture(
      std::string_view(reinterpret_cast<const char*>(data), size), "picture");
  if (!picture.ok()) return 0;
  const auto samples = [](const dasm::Picture& p) {
    return size_t{1} * p.channels * p.height * p.width;
  };
  constexpr int kSide = 16;
  const dasm::Picture square = dasm::ResizeAndCrop(*picture, kSide);
  if (picture->pixels.size() != samples(*picture) || square.height != kSide ||
      square.width != kSide || square.pixels.size() != samples(square)) {
    std::abort();
  }
  return 0;
}
