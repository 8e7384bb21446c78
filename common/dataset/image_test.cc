#include "common/dataset/image.h"

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/base/file_system.h"
#include "common/dataset/png.h"
#include "common/dataset/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The picture that the numbers of ResizeAndCrop were computed for.
Picture Pattern(int width, int height, int channels) {
  Picture picture{channels, height, width, {}};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        picture.pixels.push_back(
            static_cast<uint8_t>(x * 7 + y * 13 + c * 29 + x * y % 31 * 5));
      }
    }
  }
  return picture;
}

std::string PngOf(const Picture& picture) {
  return *EncodePng(picture.channels, picture.height, picture.width,
                    picture.pixels);
}

std::string PngOfFormat(uint32_t format, int bytes_per_pixel) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = 5;
  image.height = 4;
  image.format = format;
  const std::vector<uint16_t> pixels(5 * 4 * 4, 0x8040);
  std::string bytes(4096, '\0');
  png_alloc_size_t size = bytes.size();
  EXPECT_NE(
      png_image_write_to_memory(&image, bytes.data(), &size, 0, pixels.data(),
                                5 * bytes_per_pixel, nullptr),
      0);
  bytes.resize(size);
  return bytes;
}

std::string JpegOf(const Picture& picture, J_COLOR_SPACE space, int quality,
                   bool progressive = false) {
  jpeg_compress_struct jpeg = {};
  jpeg_error_mgr errors = {};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  unsigned char* data = nullptr;
  unsigned long size = 0;  // NOLINT: the library's type
  jpeg_mem_dest(&jpeg, &data, &size);
  jpeg.image_width = picture.width;
  jpeg.image_height = picture.height;
  jpeg.input_components = picture.channels;
  jpeg.in_color_space = space;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, quality, TRUE);
  if (progressive) jpeg_simple_progression(&jpeg);
  jpeg_start_compress(&jpeg, TRUE);
  for (int y = 0; y < picture.height; ++y) {
    auto* row = const_cast<uint8_t*>(picture.pixels.data()) +
                static_cast<size_t>(y) * picture.width * picture.channels;
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  std::string bytes(reinterpret_cast<char*>(data), size);
  free(data);
  return bytes;
}

void ExpectDamaged(const absl::StatusOr<Picture>& picture, const char* what) {
  ASSERT_FALSE(picture.ok());
  EXPECT_EQ(picture.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(FailureClassOf(picture.status()), FailureClass::kData);
  EXPECT_THAT(std::string(picture.status().message()),
              AllOf(HasSubstr("cat.png"), HasSubstr(what)));
}

TEST(DecodePicture, PngComesBackByteForByte) {
  for (int channels : {1, 3}) {
    const Picture picture = Pattern(19, 11, channels);
    const auto decoded = DecodePicture(PngOf(picture), "cat.png");
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->channels, channels);
    EXPECT_EQ(decoded->height, 11);
    EXPECT_EQ(decoded->width, 19);
    EXPECT_EQ(decoded->pixels, picture.pixels);
  }
}

TEST(DecodePicture, AlphaIsAChannelThatTheCallerSees) {
  EXPECT_EQ(DecodePicture(PngOfFormat(PNG_FORMAT_RGBA, 4), "a")->channels, 4);
  EXPECT_EQ(DecodePicture(PngOfFormat(PNG_FORMAT_GA, 2), "a")->channels, 2);
}

TEST(DecodePicture, SixteenBitsAreCutToEight) {
  const auto picture =
      DecodePicture(PngOfFormat(PNG_FORMAT_LINEAR_Y, 5 * 2 / 5 / 2), "a");
  ASSERT_TRUE(picture.ok()) << picture.status();
  EXPECT_EQ(picture->channels, 1);
  EXPECT_THAT(picture->pixels, testing::Each(0x80));
}

TEST(DecodePicture, JpegOfOneColourKeepsIt) {
  Picture grey{1, 16, 16, std::vector<uint8_t>(256, 90)};
  const auto decoded = DecodePicture(JpegOf(grey, JCS_GRAYSCALE, 90), "a");
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->channels, 1);
  EXPECT_EQ(decoded->pixels, grey.pixels);

  Picture red{3, 16, 16, {}};
  for (int i = 0; i < 256; ++i) {
    red.pixels.insert(red.pixels.end(), {200, 40, 30});
  }
  for (bool progressive : {false, true}) {
    const auto colour =
        DecodePicture(JpegOf(red, JCS_RGB, 95, progressive), "a");
    ASSERT_TRUE(colour.ok()) << colour.status();
    EXPECT_EQ(colour->channels, 3);
    EXPECT_NEAR(colour->pixels[0], 200, 3);
    EXPECT_NEAR(colour->pixels[1], 40, 3);
    EXPECT_NEAR(colour->pixels[2], 30, 3);
  }
}

TEST(DecodePicture, CmykIsRefused) {
  Picture cmyk{4, 8, 8, std::vector<uint8_t>(256, 7)};
  ExpectDamaged(DecodePicture(JpegOf(cmyk, JCS_CMYK, 90), "cat.png"),
                "neither grey nor RGB");
}

TEST(DecodePicture, SomethingElseIsNamed) {
  ExpectDamaged(DecodePicture("GIF89a......", "cat.png"),
                "neither a PNG nor a JPEG");
  ExpectDamaged(DecodePicture("", "cat.png"), "neither a PNG nor a JPEG");
}

// Every cut is an error: none gives a picture with made-up pixels.
TEST(DecodePicture, TruncatedAnywhereIsAnError) {
  const Picture picture = Pattern(40, 30, 3);
  for (const std::string& bytes : {PngOf(picture), JpegOf(picture, JCS_RGB, 80),
                                   JpegOf(picture, JCS_RGB, 80, true)}) {
    // The last two bytes of a JPEG are its end marker, which decoders forgive.
    for (size_t size = 0; size + 2 < bytes.size(); size += 13) {
      EXPECT_FALSE(DecodePicture(bytes.substr(0, size), "cat.png").ok())
          << size << " of " << bytes.size();
    }
  }
}

TEST(DecodePicture, HugeSizesAreRefusedBeforeMemoryIsTaken) {
  std::string png = PngOf(Pattern(8, 8, 3));
  // Width and height of the header chunk, with its checksum made right.
  const unsigned char side[4] = {0x7f, 0xff, 0xff, 0xff};
  png.replace(16, 4, reinterpret_cast<const char*>(side), 4);
  png.replace(20, 4, reinterpret_cast<const char*>(side), 4);
  const auto crc = static_cast<uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(png.data()) + 12, 17));
  for (int i = 0; i < 4; ++i) {
    png[29 + i] = static_cast<char>(crc >> (24 - 8 * i));
  }
  ExpectDamaged(DecodePicture(png, "cat.png"), "does not decode");

  std::string jpeg = JpegOf(Pattern(8, 8, 3), JCS_RGB, 80);
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  for (int i = 5; i < 9; ++i) jpeg[frame + i] = static_cast<char>(0xff);
  ExpectDamaged(DecodePicture(jpeg, "cat.png"), "does not decode");
}

TEST(DecodePicture, MutatedPicturesNeverCrash) {
  const Picture picture = Pattern(33, 21, 3);
  int decoded = 0;
  for (const std::string& bytes : {PngOf(picture), JpegOf(picture, JCS_RGB, 70),
                                   JpegOf(picture, JCS_RGB, 70, true)}) {
    for (uint64_t seed = 0; seed < 1500; ++seed) {
      const auto result = DecodePicture(Mutated(bytes, seed), "cat.png");
      if (!result.ok()) continue;
      ++decoded;
      EXPECT_EQ(result->pixels.size(),
                size_t{1} * result->channels * result->height * result->width);
    }
  }
  // Some mutations of a JPEG's content are valid; the loop reaches the decoder.
  EXPECT_GT(decoded, 0);
}

TEST(ReadPicture, MissingFileIsNamed) {
  const auto picture = ReadPicture("/nonexistent/cat.png");
  ExpectDamaged(picture, "/nonexistent/");
}

struct ResizeCase {
  int width, height, channels, side;
  uint32_t crc;  // of Pillow 13's bytes: resize(BILINEAR), then crop
};

// Made with Pillow: Image.resize((side * w // min(w, h), side * h // min(w,
// h)), BILINEAR), cropped at round((w' - side) / 2), round((h' - side) / 2).
TEST(ResizeAndCrop, GivesTheBytesOfPillow) {
  for (const ResizeCase& c :
       std::vector<ResizeCase>{{50, 37, 3, 16, 0x427a61fb},
                               {20, 33, 3, 32, 0x90ebaf9d},
                               {64, 64, 1, 28, 0x8b155813},
                               {101, 40, 3, 40, 0x756f7600},
                               {500, 375, 3, 64, 0xf36163da}}) {
    const Picture result =
        ResizeAndCrop(Pattern(c.width, c.height, c.channels), c.side);
    EXPECT_EQ(result.height, c.side);
    EXPECT_EQ(result.width, c.side);
    ASSERT_EQ(result.pixels.size(), size_t{1} * c.side * c.side * c.channels);
    EXPECT_EQ(crc32(0, result.pixels.data(), result.pixels.size()), c.crc)
        << c.width << " x " << c.height << " -> " << c.side;
  }
}

TEST(ResizeAndCrop, PictureOfThatSizeIsUnchanged) {
  const Picture picture = Pattern(32, 32, 3);
  EXPECT_EQ(ResizeAndCrop(picture, 32).pixels, picture.pixels);
}

TEST(ResizeAndCrop, ExtremeShapesAreServed) {
  const Picture line = Pattern(16384, 1, 1);
  EXPECT_EQ(ResizeAndCrop(line, 32).pixels.size(), 1024u);
  EXPECT_EQ(ResizeAndCrop(Pattern(1, 1, 3), 5).pixels,
            std::vector<uint8_t>(
                {0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58,
                 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58,
                 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58,
                 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58,
                 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58, 0, 29, 58}));
}

TEST(WritePng, WritesWhatDecodes) {
  TestFolder folder;
  const Picture picture = Pattern(30, 20, 3);
  ASSERT_TRUE(WritePng(folder.At("grid.png"), 3, 20, 30, picture.pixels).ok());
  EXPECT_EQ(ReadPicture(folder.At("grid.png"))->pixels, picture.pixels);
  EXPECT_EQ(*LocalFileSystem()->Read(folder.At("grid.png")), PngOf(picture));
}

TEST(WritePng, RefusesSizesThatDoNotFit) {
  TestFolder folder;
  const std::vector<uint8_t> pixels(12);
  for (const auto& status : {WritePng(folder.At("a"), 2, 2, 3, pixels),
                             WritePng(folder.At("a"), 3, 2, 3, pixels),
                             WritePng(folder.At("a"), 1, 0, 12, pixels)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(std::filesystem::exists(folder.At("a")));
}

}  // namespace
}  // namespace dasm
