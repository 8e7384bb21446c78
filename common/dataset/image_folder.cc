#include "common/dataset/image_folder.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"
#include "common/dataset/image.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxPixelBytes = int64_t{16} << 30;

bool IsPictureName(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  return absl::EndsWith(lower, ".png") || absl::EndsWith(lower, ".jpg") ||
         absl::EndsWith(lower, ".jpeg");
}

// Visible entries in byte order.
absl::StatusOr<std::vector<std::string>> Names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  for (; !error && entries != fs::directory_iterator();
       entries.increment(error)) {
    std::string name = entries->path().filename().string();
    if (name[0] != '.') names.push_back(std::move(name));
  }
  if (error) {
    return DataError(folder,
                     absl::StrCat("cannot be listed: ", error.message()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

// FAILED_PRECONDITION for a link out of `folder` (whose real path is `real`).
absl::Status CheckLink(const std::string& real, const std::string& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error)) return absl::OkStatus();
  const std::string target = fs::canonical(path, error).string();
  if (error || !absl::StartsWith(target, absl::StrCat(real, "/"))) {
    return DataError(path,
                     "a link that leads out of the picture folder; "
                     "replace it by what it points to");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<ImageClass>> ListImageFolder(
    const std::string& folder) {
  std::error_code error;
  const std::string real = fs::canonical(folder, error).string();
  if (error || !fs::is_directory(real, error)) {
    return DataError(folder,
                     "not a folder; it holds a folder of pictures for "
                     "each class");
  }
  std::vector<ImageClass> classes;
  DASM_ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(folder));
  for (const std::string& name : names) {
    const std::string path = absl::StrCat(folder, "/", name);
    if (!fs::is_directory(path, error)) continue;
    DASM_RETURN_IF_ERROR(CheckLink(real, path));
    ImageClass found{name, {}};
    DASM_ASSIGN_OR_RETURN(const std::vector<std::string> files, Names(path));
    for (const std::string& file : files) {
      if (!IsPictureName(file)) continue;
      DASM_RETURN_IF_ERROR(CheckLink(real, absl::StrCat(path, "/", file)));
      found.pictures.push_back(absl::StrCat(name, "/", file));
    }
    if (found.pictures.empty()) {
      return DataError(path,
                       "a class without pictures (.png, .jpg, .jpeg); "
                       "add some or remove the folder");
    }
    classes.push_back(std::move(found));
  }
  if (classes.empty()) {
    return DataError(folder, "no class folders; pictures lie in <class>/");
  }
  return classes;
}

absl::StatusOr<ImageSet> ReadImageFolder(
    const std::string& folder, const std::vector<std::string>& classes,
    int side, int channels) {
  DASM_ASSIGN_OR_RETURN(const std::vector<ImageClass> found,
                        ListImageFolder(folder));
  int64_t total = 0;
  for (const ImageClass& each : found) {
    if (!std::binary_search(classes.begin(), classes.end(), each.name)) {
      return DataError(absl::StrCat(folder, "/", each.name),
                       "a class that the training folder has not");
    }
    total += static_cast<int64_t>(each.pictures.size());
  }
  const int64_t plane = int64_t{side} * side;
  if (total > kMaxPixelBytes / (plane * channels)) {
    return DataError(folder, absl::StrFormat("%d pictures of %d x %d need more "
                                             "than 16 GiB; choose a smaller "
                                             "size",
                                             total, side, side));
  }
  ImageSet set;
  set.channels = channels;
  set.height = side;
  set.width = side;
  set.images.resize(total * plane * channels);
  for (const ImageClass& each : found) {
    const int64_t label =
        std::lower_bound(classes.begin(), classes.end(), each.name) -
        classes.begin();
    for (const std::string& name : each.pictures) {
      const std::string path = absl::StrCat(folder, "/", name);
      DASM_ASSIGN_OR_RETURN(Picture picture, ReadPicture(path));
      if (picture.channels != channels && picture.channels != 1) {
        return DataError(
            path,
            absl::StrFormat("%d channels where %d are asked for; convert the "
                            "picture%s",
                            picture.channels, channels,
                            picture.channels == 3 ? " or set channels: 3"
                                                  : ": it has transparency"));
      }
      picture = ResizeAndCrop(picture, side);
      uint8_t* out = set.images.data() + set.count * plane * channels;
      for (int c = 0; c < channels; ++c) {
        const int from = picture.channels == 1 ? 0 : c;
        for (int64_t i = 0; i < plane; ++i) {
          out[c * plane + i] = picture.pixels[i * picture.channels + from];
        }
      }
      set.labels.push_back(label);
      ++set.count;
    }
  }
  return set;
}

}  // namespace dasm
