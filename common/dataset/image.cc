#include "common/dataset/image.h"

// jpeglib.h needs size_t and FILE.
#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <utility>

#include "common/base/file_system.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"

namespace dasm {
namespace {

constexpr int kMaxSide = 16384;
constexpr int64_t kMaxPixels = int64_t{64} << 20;
constexpr int64_t kMaxFileBytes = int64_t{64} << 20;
// A progressive JPEG of a real encoder has some ten scans; each costs a pass
// over the picture.
constexpr int kMaxScans = 200;

bool SizeIsAcceptable(int64_t width, int64_t height) {
  return width >= 1 && height >= 1 && width <= kMaxSide && height <= kMaxSide &&
         width * height <= kMaxPixels;
}

// Both libraries report errors by longjmp. The functions between setjmp and the
// library hold trivially destructible locals only; everything else lives in a
// struct of the caller, so that no destructor is jumped over.
struct PngDecode {
  const uint8_t* data = nullptr;
  size_t size = 0;
  size_t at = 0;
  Picture picture;
  std::vector<png_bytep> rows;
  char message[160] = {};
};

void RememberMessage(char (&out)[160], const char* message) {
  std::strncpy(out, message, sizeof(out) - 1);
}

void OnPngError(png_structp png, png_const_charp message) {
  RememberMessage(static_cast<PngDecode*>(png_get_error_ptr(png))->message,
                  message);
  png_longjmp(png, 1);
}

void OnPngWarning(png_structp, png_const_charp) {}

void ReadPngBytes(png_structp png, png_bytep out, size_t size) {
  auto* decode = static_cast<PngDecode*>(png_get_io_ptr(png));
  if (size > decode->size - decode->at) png_error(png, "truncated");
  std::memcpy(out, decode->data + decode->at, size);
  decode->at += size;
}

bool RunPng(PngDecode* decode) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, decode,
                                           OnPngError, OnPngWarning);
  if (png == nullptr) return false;
  png_infop info = png_create_info_struct(png);
  if (info == nullptr || setjmp(png_jmpbuf(png)) != 0) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  png_set_user_limits(png, kMaxSide, kMaxSide);
  png_set_chunk_cache_max(png, 64);
  png_set_chunk_malloc_max(png, 4 << 20);
  png_set_read_fn(png, decode, ReadPngBytes);
  png_read_info(png, info);
  if (!SizeIsAcceptable(png_get_image_width(png, info),
                        png_get_image_height(png, info))) {
    png_error(png, "larger than 16384 a side or 64 Mpixel");
  }
  png_set_expand(png);
  png_set_strip_16(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  Picture& picture = decode->picture;
  picture.channels = png_get_channels(png, info);
  picture.height = static_cast<int>(png_get_image_height(png, info));
  picture.width = static_cast<int>(png_get_image_width(png, info));
  const size_t stride = static_cast<size_t>(picture.width) * picture.channels;
  if (png_get_rowbytes(png, info) != stride) png_error(png, "odd row size");
  picture.pixels.resize(stride * picture.height);
  decode->rows.resize(picture.height);
  for (int y = 0; y < picture.height; ++y) {
    decode->rows[y] = picture.pixels.data() + y * stride;
  }
  png_read_image(png, decode->rows.data());
  png_read_end(png, nullptr);
  png_destroy_read_struct(&png, &info, nullptr);
  return true;
}

struct JpegDecode {
  // First, so that the library's pointers to these are pointers to this.
  jpeg_error_mgr errors = {};
  jpeg_progress_mgr progress = {};
  jpeg_decompress_struct jpeg = {};
  std::jmp_buf jump = {};
  const uint8_t* data = nullptr;
  size_t size = 0;
  Picture picture;
  char message[JMSG_LENGTH_MAX] = {};
};

void OnJpegError(j_common_ptr jpeg) {
  auto* decode = static_cast<JpegDecode*>(jpeg->client_data);
  (*jpeg->err->format_message)(jpeg, decode->message);
  std::longjmp(decode->jump, 1);
}

// libjpeg goes on with made-up data after these; harmless ones, such as a
// doubtful marker, pass.
void OnJpegMessage(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_TOO_MUCH_DATA:
      OnJpegError(jpeg);
  }
}

void OnJpegProgress(j_common_ptr jpeg) {
  auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (decompress->input_scan_number > kMaxScans) {
    auto* decode = static_cast<JpegDecode*>(jpeg->client_data);
    std::strcpy(decode->message, "too many scans");
    std::longjmp(decode->jump, 1);
  }
}

bool RunJpeg(JpegDecode* decode) {
  jpeg_decompress_struct* jpeg = &decode->jpeg;
  jpeg->err = jpeg_std_error(&decode->errors);
  decode->errors.error_exit = OnJpegError;
  decode->errors.emit_message = OnJpegMessage;
  jpeg->client_data = decode;
  if (setjmp(decode->jump) != 0) {
    jpeg_destroy_decompress(jpeg);
    return false;
  }
  jpeg_create_decompress(jpeg);
  jpeg->client_data = decode;
  jpeg_mem_src(jpeg, decode->data, decode->size);
  jpeg_read_header(jpeg, TRUE);
  decode->progress.progress_monitor = OnJpegProgress;
  jpeg->progress = &decode->progress;
  if (!SizeIsAcceptable(jpeg->image_width, jpeg->image_height)) {
    std::strcpy(decode->message, "larger than 16384 a side or 64 Mpixel");
    std::longjmp(decode->jump, 1);
  }
  if (jpeg->num_components != 1 && jpeg->num_components != 3) {
    std::strcpy(decode->message, "neither grey nor RGB");
    std::longjmp(decode->jump, 1);
  }
  jpeg->out_color_space = jpeg->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg->dct_method = JDCT_ISLOW;
  jpeg_start_decompress(jpeg);
  Picture& picture = decode->picture;
  picture.channels = jpeg->output_components;
  picture.height = static_cast<int>(jpeg->output_height);
  picture.width = static_cast<int>(jpeg->output_width);
  const size_t stride = static_cast<size_t>(picture.width) * picture.channels;
  picture.pixels.resize(stride * picture.height);
  while (jpeg->output_scanline < jpeg->output_height) {
    JSAMPROW row = picture.pixels.data() + jpeg->output_scanline * stride;
    jpeg_read_scanlines(jpeg, &row, 1);
  }
  jpeg_finish_decompress(jpeg);
  jpeg_destroy_decompress(jpeg);
  return true;
}

// One pass of the resampling: which input samples, with which weights, make
// each of the wanted output samples.
struct Taps {
  struct Output {
    int first = 0;
    int count = 0;
    size_t weights = 0;  // where they start
  };
  std::vector<Output> outputs;
  std::vector<int32_t> weights;
};

constexpr int kWeightBits = 22;

// For outputs [begin, begin + count) of `total`, from `in` inputs.
Taps MakeTaps(int in, int64_t total, int64_t begin, int count) {
  Taps taps;
  const double scale = static_cast<double>(in) / static_cast<double>(total);
  const double widen = std::max(scale, 1.0);
  std::vector<double> weights;
  for (int o = 0; o < count; ++o) {
    const double center = (static_cast<double>(begin + o) + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - widen + 0.5));
    const int last = std::min(in, static_cast<int>(center + widen + 0.5));
    weights.clear();
    double sum = 0;
    for (int i = first; i < last; ++i) {
      const double distance = std::abs((i - center + 0.5) / widen);
      weights.push_back(std::max(0.0, 1.0 - distance));
      sum += weights.back();
    }
    taps.outputs.push_back({first, last - first, taps.weights.size()});
    for (double weight : weights) {
      taps.weights.push_back(
          static_cast<int32_t>(std::lround(weight / sum * (1 << kWeightBits))));
    }
  }
  return taps;
}

// The output sample whose inputs are `stride` apart from `in` on.
uint8_t Weigh(const Taps& taps, const Taps::Output& output, const uint8_t* in,
              size_t stride) {
  int32_t sum = 1 << (kWeightBits - 1);
  for (int i = 0; i < output.count; ++i) {
    sum += taps.weights[output.weights + i] *
           int32_t{in[(output.first + i) * stride]};
  }
  return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255));
}

// Half of `margin`, halves to even, as Python rounds.
int64_t CropOffset(int64_t margin) {
  const int64_t half = margin / 2;
  return margin % 2 == 0 ? half : half + half % 2;
}

}  // namespace

absl::StatusOr<Picture> DecodePicture(std::string_view bytes,
                                      const std::string& name) {
  if (static_cast<int64_t>(bytes.size()) > kMaxFileBytes) {
    return DataError(name, "a picture file of more than 64 MiB");
  }
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  constexpr char kRemedy[] = "; replace or remove the picture";
  if (bytes.size() >= 8 && png_sig_cmp(data, 0, 8) == 0) {
    PngDecode decode;
    decode.data = data;
    decode.size = bytes.size();
    if (!RunPng(&decode)) {
      return DataError(name, std::string("does not decode as PNG: ") +
                                 decode.message + kRemedy);
    }
    return std::move(decode.picture);
  }
  if (bytes.size() >= 3 && data[0] == 0xff && data[1] == 0xd8 &&
      data[2] == 0xff) {
    auto decode = std::make_unique<JpegDecode>();
    decode->data = data;
    decode->size = bytes.size();
    if (!RunJpeg(decode.get())) {
      return DataError(name, std::string("does not decode as JPEG: ") +
                                 decode->message + kRemedy);
    }
    return std::move(decode->picture);
  }
  return DataError(name, std::string("neither a PNG nor a JPEG") + kRemedy);
}

absl::StatusOr<Picture> ReadPicture(const std::string& path) {
  auto size = LocalFileSystem()->Size(path);
  if (!size.ok()) return DataError(path, size.status().message());
  if (*size > kMaxFileBytes) {
    return DataError(path, "a picture file of more than 64 MiB");
  }
  auto bytes = LocalFileSystem()->Read(path);
  if (!bytes.ok()) return DataError(path, bytes.status().message());
  return DecodePicture(*bytes, path);
}

Picture ResizeAndCrop(const Picture& picture, int side) {
  if (picture.height == side && picture.width == side) return picture;
  const int shorter = std::min(picture.height, picture.width);
  const int64_t height = int64_t{side} * picture.height / shorter;
  const int64_t width = int64_t{side} * picture.width / shorter;
  const Taps across =
      MakeTaps(picture.width, width, CropOffset(width - side), side);
  const Taps down =
      MakeTaps(picture.height, height, CropOffset(height - side), side);
  const int channels = picture.channels;

  // Only the rows that the second pass reads.
  const int top = down.outputs.front().first;
  const int bottom = down.outputs.back().first + down.outputs.back().count;
  std::vector<uint8_t> narrow(static_cast<size_t>(bottom - top) * side *
                              channels);
  for (int y = top; y < bottom; ++y) {
    const uint8_t* in = picture.pixels.data() +
                        static_cast<size_t>(y) * picture.width * channels;
    uint8_t* out =
        narrow.data() + static_cast<size_t>(y - top) * side * channels;
    for (int x = 0; x < side; ++x) {
      for (int c = 0; c < channels; ++c) {
        out[x * channels + c] =
            Weigh(across, across.outputs[x], in + c, channels);
      }
    }
  }
  Picture result{channels, side, side, {}};
  const size_t stride = static_cast<size_t>(side) * channels;
  result.pixels.resize(stride * side);
  for (int y = 0; y < side; ++y) {
    Taps::Output output = down.outputs[y];
    output.first -= top;
    for (size_t i = 0; i < stride; ++i) {
      result.pixels[y * stride + i] =
          Weigh(down, output, narrow.data() + i, stride);
    }
  }
  return result;
}

}  // namespace dasm
