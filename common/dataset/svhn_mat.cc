#include "common/dataset/svhn_mat.h"

#include <fcntl.h>
#include <matio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"

namespace dasm {
namespace {

constexpr int64_t kSide = 32;
constexpr int64_t kSvhnPixels = 3 * kSide * kSide;
constexpr int64_t kMaxImages = 5'000'000;

// matio goes on after a damaged stream and only logs it; its log is the
// process's, hence per thread here.
thread_local std::string matio_complaint;

void OnMatioMessage(int level, char* message) {
  if (level == MATIO_LOG_LEVEL_ERROR || level == MATIO_LOG_LEVEL_CRITICAL ||
      level == (MATIO_LOG_LEVEL_WARNING)) {
    matio_complaint = message;
  }
}

struct CloseMat {
  void operator()(mat_t* mat) const { Mat_Close(mat); }
};
struct FreeVariable {
  void operator()(matvar_t* variable) const { Mat_VarFree(variable); }
};
using Mat = std::unique_ptr<mat_t, CloseMat>;
using Variable = std::unique_ptr<matvar_t, FreeVariable>;

// Every top-level element lies inside the file and the last one ends with it:
// a truncated file is told before matio sees it.
absl::Status CheckLayout(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info = {};
  if (fd < 0 || fstat(fd, &info) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return DataError(path, std::strerror(error));
  }
  const auto at = [fd](int64_t offset, void* out, size_t size) {
    return pread(fd, out, size, offset) == static_cast<ssize_t>(size);
  };
  char mark[4] = {};
  absl::Status status;
  if (!at(124, mark, 4) || mark[1] != 1 || mark[2] != 'I' || mark[3] != 'M') {
    status = DataError(path, absl::StrFormat("not a little-endian MATLAB 5 "
                                             "file%s",
                                             kFetchAgain));
  }
  int64_t offset = 128;
  while (status.ok() && offset < info.st_size) {
    uint32_t tag[2] = {};
    if (!at(offset, tag, sizeof(tag)) ||
        offset + 8 + int64_t{tag[1]} > info.st_size) {
      status = DataError(path, absl::StrFormat("truncated at byte %d%s",
                                               info.st_size, kFetchAgain));
    }
    // Compressed elements (15) are not padded.
    const int64_t size = tag[1];
    offset += 8 + (tag[0] == 15 ? size : (size + 7) / 8 * 8);
  }
  close(fd);
  return status;
}

absl::StatusOr<Mat> OpenMat(const std::string& path) {
  DASM_RETURN_IF_ERROR(CheckLayout(path));
  static std::once_flag once;
  std::call_once(once, [] { Mat_LogInitFunc("dasm", OnMatioMessage); });
  matio_complaint.clear();
  Mat mat(Mat_Open(path.c_str(), MAT_ACC_RDONLY));
  if (mat == nullptr) {
    return DataError(path, absl::StrFormat("not a MATLAB file%s", kFetchAgain));
  }
  return mat;
}

absl::Status CheckComplaint(const std::string& path) {
  if (matio_complaint.empty()) return absl::OkStatus();
  return DataError(
      path, absl::StrFormat("damaged: %s%s", matio_complaint, kFetchAgain));
}

// The number of images, from X's header.
absl::StatusOr<int64_t> ImageCount(mat_t* mat, const std::string& path) {
  const Variable x(Mat_VarReadInfo(mat, "X"));
  if (x == nullptr || x->class_type != MAT_C_UINT8 || x->isComplex ||
      x->rank != 4 || x->dims[0] != kSide || x->dims[1] != kSide ||
      x->dims[2] != 3 || x->dims[3] < 1 || x->dims[3] > kMaxImages) {
    return DataError(
        path,
        absl::StrFormat("no array X of uint8 [32, 32, 3, N]%s", kFetchAgain));
  }
  return static_cast<int64_t>(x->dims[3]);
}

absl::StatusOr<std::vector<int64_t>> ReadLabels(mat_t* mat,
                                                const std::string& path,
                                                int64_t count) {
  const Variable info(Mat_VarReadInfo(mat, "y"));
  if (info == nullptr || info->isComplex || info->rank != 2 ||
      (info->class_type != MAT_C_UINT8 && info->class_type != MAT_C_DOUBLE) ||
      info->dims[0] > kMaxImages || info->dims[1] != 1) {
    return DataError(
        path, absl::StrFormat("no array y of numbers [N, 1]%s", kFetchAgain));
  }
  if (static_cast<int64_t>(info->dims[0]) != count) {
    return DataError(path, absl::StrFormat("%d images but %d labels%s", count,
                                           info->dims[0], kFetchAgain));
  }
  const Variable y(Mat_VarRead(mat, "y"));
  DASM_RETURN_IF_ERROR(CheckComplaint(path));
  if (y == nullptr || y->data == nullptr ||
      y->nbytes != info->dims[0] * y->data_size) {
    return DataError(path, absl::StrFormat("y cannot be read%s", kFetchAgain));
  }
  std::vector<int64_t> labels(count);
  for (int64_t i = 0; i < count; ++i) {
    const double label = y->class_type == MAT_C_DOUBLE
                             ? static_cast<const double*>(y->data)[i]
                             : static_cast<const uint8_t*>(y->data)[i];
    if (!(label >= 1 && label <= 10) || label != std::floor(label)) {
      return DataError(path, absl::StrFormat("label %g of image %d; SVHN has 1 "
                                             ".. 10%s",
                                             label, i, kFetchAgain));
    }
    labels[i] = static_cast<int64_t>(label) % 10;
  }
  return labels;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> ReadSvhnLabels(const std::string& path) {
  DASM_ASSIGN_OR_RETURN(const Mat mat, OpenMat(path));
  DASM_ASSIGN_OR_RETURN(const int64_t count, ImageCount(mat.get(), path));
  return ReadLabels(mat.get(), path, count);
}

absl::StatusOr<ImageSet> ReadSvhnMat(const std::string& path) {
  DASM_ASSIGN_OR_RETURN(const Mat mat, OpenMat(path));
  ImageSet set;
  DASM_ASSIGN_OR_RETURN(set.count, ImageCount(mat.get(), path));
  DASM_ASSIGN_OR_RETURN(set.labels, ReadLabels(mat.get(), path, set.count));
  set.channels = 3;
  set.height = kSide;
  set.width = kSide;
  const Variable x(Mat_VarRead(mat.get(), "X"));
  DASM_RETURN_IF_ERROR(CheckComplaint(path));
  const size_t bytes = static_cast<size_t>(set.count * kSvhnPixels);
  if (x == nullptr || x->data == nullptr || x->nbytes != bytes) {
    return DataError(path, absl::StrFormat("X cannot be read%s", kFetchAgain));
  }
  // MATLAB is column-major: row fastest, then column, channel, image.
  const auto* in = static_cast<const uint8_t*>(x->data);
  set.images.resize(bytes);
  for (int64_t plane = 0; plane < set.count * 3; ++plane) {
    const uint8_t* from = in + plane * kSide * kSide;
    uint8_t* to = set.images.data() + plane * kSide * kSide;
    for (int64_t row = 0; row < kSide; ++row) {
      for (int64_t column = 0; column < kSide; ++column) {
        to[row * kSide + column] = from[column * kSide + row];
      }
    }
  }
  return set;
}

}  // namespace dasm
