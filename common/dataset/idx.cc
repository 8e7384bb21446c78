#include "common/dataset/idx.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"

namespace dasm {
namespace {

constexpr int64_t kMaxBytes = int64_t{16} << 30;

struct GzClose {
  void operator()(gzFile file) const { gzclose(file); }
};
using GzFile = std::unique_ptr<gzFile_s, GzClose>;

// gzread passes plain files through.
absl::StatusOr<GzFile> Open(const std::string& path) {
  GzFile file(gzopen(path.c_str(), "rbe"));
  if (file == nullptr) return DataError(path, std::strerror(errno));
  gzbuffer(file.get(), 1 << 17);
  return file;
}

// Reads up to `size` bytes; fewer only at the end of the file.
absl::StatusOr<int64_t> Read(gzFile file, const std::string& path, uint8_t* out,
                             int64_t size) {
  int64_t done = 0;
  while (done < size) {
    const auto part =
        static_cast<unsigned>(std::min<int64_t>(size - done, 1 << 24));
    const int got = gzread(file, out + done, part);
    int code = Z_OK;
    const char* message = gzerror(file, &code);
    // Z_BUF_ERROR: a gzip file that ends early; what was read is returned.
    if (got < 0 || (code != Z_OK && code != Z_BUF_ERROR)) {
      return DataError(path,
                       absl::StrFormat("damaged: %s%s", message, kFetchAgain));
    }
    if (got == 0) break;
    done += got;
  }
  return done;
}

absl::StatusOr<std::vector<int64_t>> ReadHeader(gzFile file,
                                                const std::string& path,
                                                int dimensions) {
  uint8_t header[4 + 4 * 4];
  const int64_t size = 4 + 4 * dimensions;
  DASM_ASSIGN_OR_RETURN(const int64_t got, Read(file, path, header, size));
  if (got < 4 || header[0] != 0 || header[1] != 0) {
    return DataError(path, absl::StrFormat("not an idx file%s", kFetchAgain));
  }
  if (header[2] != 0x08 || header[3] != dimensions) {
    return DataError(
        path, absl::StrFormat("an idx file of type 0x%02x with %d dimensions; "
                              "unsigned bytes with %d are needed: name the "
                              "file that holds them",
                              header[2], header[3], dimensions));
  }
  if (got < size) {
    return DataError(path,
                     absl::StrFormat("truncated in its header%s", kFetchAgain));
  }
  std::vector<int64_t> shape;
  int64_t elements = 1;
  for (int d = 0; d < dimensions; ++d) {
    const uint8_t* at = header + 4 + 4 * d;
    shape.push_back(int64_t{at[0]} << 24 | at[1] << 16 | at[2] << 8 | at[3]);
    if (shape.back() < 1) {
      return DataError(path, absl::StrFormat("empty: dimension %d is 0", d));
    }
    if (elements > kMaxBytes / shape.back()) {
      return DataError(path, "an idx header that announces more than 16 GiB");
    }
    elements *= shape.back();
  }
  return shape;
}

int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (int64_t side : shape) elements *= side;
  return elements;
}

absl::Status WrongSize(const std::string& path, int64_t want, bool longer,
                       int64_t got) {
  if (longer) {
    return DataError(path,
                     absl::StrFormat("longer than the %d bytes that its header "
                                     "announces%s",
                                     want, kFetchAgain));
  }
  return DataError(path, absl::StrFormat("truncated: %d of %d bytes%s", got,
                                         want, kFetchAgain));
}

// Reads to the end, at most one byte more than `want`; calls for each part.
template <typename Part>
absl::Status ReadBody(gzFile file, const std::string& path, int64_t want,
                      const Part& part) {
  std::vector<uint8_t> buffer(1 << 20);
  int64_t total = 0;
  while (true) {
    DASM_ASSIGN_OR_RETURN(
        const int64_t got,
        Read(file, path, buffer.data(), static_cast<int64_t>(buffer.size())));
    if (total + got > want) return WrongSize(path, want, true, 0);
    if (got == 0) break;
    part(buffer.data(), got);
    total += got;
  }
  if (total < want) return WrongSize(path, want, false, total);
  int code = Z_OK;
  gzerror(file, &code);
  if (code != Z_OK) {
    return DataError(path, absl::StrFormat("truncated gzip%s", kFetchAgain));
  }
  return absl::OkStatus();
}

// The uncompressed size that the end of a gzip file tells, modulo 2^32; -1 for
// another file.
int64_t GzipSize(int fd, int64_t file_size) {
  uint8_t magic[2];
  uint8_t tail[4];
  if (file_size < 18 || pread(fd, magic, 2, 0) != 2 || magic[0] != 0x1f ||
      magic[1] != 0x8b || pread(fd, tail, 4, file_size - 4) != 4) {
    return -1;
  }
  return int64_t{tail[0]} | int64_t{tail[1]} << 8 | int64_t{tail[2]} << 16 |
         int64_t{tail[3]} << 24;
}

}  // namespace

absl::StatusOr<IdxArray> ReadIdx(const std::string& path, int dimensions) {
  DASM_ASSIGN_OR_RETURN(const GzFile file, Open(path));
  IdxArray array;
  DASM_ASSIGN_OR_RETURN(array.shape, ReadHeader(file.get(), path, dimensions));
  // Grows with what is really there: a header alone buys no memory.
  DASM_RETURN_IF_ERROR(ReadBody(file.get(), path, Elements(array.shape),
                                [&](const uint8_t* data, int64_t size) {
                                  array.values.insert(array.values.end(), data,
                                                      data + size);
                                }));
  return array;
}

absl::StatusOr<std::vector<int64_t>> ReadIdxShape(const std::string& path,
                                                  int dimensions) {
  DASM_ASSIGN_OR_RETURN(const GzFile file, Open(path));
  DASM_ASSIGN_OR_RETURN(const std::vector<int64_t> shape,
                        ReadHeader(file.get(), path, dimensions));
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info = {};
  if (fd < 0 || fstat(fd, &info) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return DataError(path, std::strerror(error));
  }
  const int64_t header = 4 + 4 * dimensions;
  const int64_t want = header + Elements(shape);
  const int64_t gzip = GzipSize(fd, info.st_size);
  close(fd);
  if (gzip < 0) {
    if (info.st_size != want) {
      return WrongSize(path, want - header, info.st_size > want,
                       info.st_size - header);
    }
  } else if (gzip != (want & 0xffffffff)) {
    // Truncated, or made of several members: the content decides.
    DASM_RETURN_IF_ERROR(ReadBody(file.get(), path, want - header,
                                  [](const uint8_t*, int64_t) {}));
  }
  return shape;
}

}  // namespace dasm
