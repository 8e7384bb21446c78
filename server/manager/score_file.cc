#include "server/manager/score_file.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"
#include "common/dataset/file_memo.h"
#include "common/dataset/npy.h"

namespace dasm {
namespace {

constexpr char kField[] = "experts.schedule.score_file";
constexpr int64_t kLongestHeader = 64 << 10;

absl::StatusOr<NpyHeader> ReadHeader(const std::string& path) {
  std::error_code error;
  const auto size =
      static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) return DataError(path, error.message());
  std::string bytes(std::min(size, kLongestHeader), '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    return DataError(path, "cannot be read");
  }
  return ParseNpyHeader(bytes, size, path);
}

// Training images without the validation split; 0: only the labels tell.
int64_t ImagesLeft(const DatasetSource& data, double validation) {
  if (validation == 0) return data.train_images;
  if (data.smallest_class * data.classes != data.train_images) return 0;
  // As the split rounds.
  const auto held = static_cast<int64_t>(
      validation * static_cast<double>(data.smallest_class));
  return data.train_images - held * data.classes;
}

absl::Status CheckShape(const NpyHeader& header, const std::string& path,
                        const DatasetSource& data, double validation) {
  const bool numbers = header.type == NpyHeader::Type::kI4 ||
                       header.type == NpyHeader::Type::kI8;
  const std::vector<int64_t>& shape = header.shape;
  const int64_t images = ImagesLeft(data, validation);
  const bool fits = (numbers ? shape.size() == 2 && shape[0] == data.classes
                             : shape.size() == 1) &&
                    (images == 0 || header.elements == images);
  if (fits) return absl::OkStatus();
  return DataError(
      path,
      absl::StrCat(numbers ? "integers [" : "floats [",
                   absl::StrJoin(shape, ", "), "]; needed are floats [",
                   images > 0 ? absl::StrCat(images) : "training images",
                   "] in the order of the training images",
                   validation > 0 ? " that the validation split leaves" : "",
                   ", higher is harder, or integers [", data.classes,
                   ", images of a class], image numbers from easy to hard"));
}

}  // namespace

absl::StatusOr<SourceFile> ProbeScoreFile(const std::string& path,
                                          const DatasetSource& data,
                                          double validation,
                                          const DataRoots& roots) {
  DASM_ASSIGN_OR_RETURN(const std::string absolute,
                        roots.Resolve(kField, path));
  const auto header = ReadHeader(absolute);
  if (!header.ok()) return AtField(header.status(), kField);
  if (absl::Status shape = CheckShape(*header, absolute, data, validation);
      !shape.ok()) {
    return AtField(std::move(shape), kField);
  }
  auto digest = SourceDigest(absolute);
  if (!digest.ok()) return AtField(digest.status(), kField);
  return SourceFile{.role = "scores", .path = path, .digest = *digest};
}

}  // namespace dasm
