#include "common/dataset/data_roots.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;

absl::Status CheckRelative(const std::string& field, const std::string& path) {
  if (path.empty()) return InvalidField(field, "is empty; name a file");
  if (path[0] == '/') {
    return InvalidField(
        field, absl::StrFormat("%s is absolute; name it relative to a --data "
                               "folder",
                               path));
  }
  if (path.find('\0') != std::string::npos) {
    return InvalidField(field, "a path with a NUL byte");
  }
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part == "..") {
      return InvalidField(
          field, absl::StrFormat("%s leaves the --data folder by ..", path));
    }
  }
  return absl::OkStatus();
}

// `path` below `root`; none when it is not there.
absl::StatusOr<std::optional<std::string>> ResolveBelow(
    const std::string& root, const std::string& field,
    const std::string& path) {
  std::error_code error;
  const std::string real = fs::canonical(fs::path(root) / path, error).string();
  if (error) return std::nullopt;
  if (real != root &&
      !absl::StartsWith(real, root == "/" ? root : absl::StrCat(root, "/"))) {
    return InvalidField(
        field, absl::StrFormat("%s is a link that leads out of %s; copy the "
                               "file there or add --data for where it lies",
                               path, root));
  }
  return real;
}

}  // namespace

absl::StatusOr<DataRoots> DataRoots::Create(std::vector<std::string> folders) {
  for (std::string& folder : folders) {
    std::error_code error;
    const std::string real = fs::canonical(folder, error).string();
    if (error || !fs::is_directory(real, error)) {
      return WithReason(
          absl::FailedPreconditionError(absl::StrFormat(
              "%s is not a folder; create it or leave the option out", folder)),
          "DATA_FOLDER_MISSING", "--data");
    }
    folder = real;
  }
  return DataRoots(std::move(folders));
}

absl::StatusOr<std::string> DataRoots::Resolve(const std::string& field,
                                               const std::string& path) const {
  DASM_RETURN_IF_ERROR(CheckRelative(field, path));
  for (const std::string& root : folders_) {
    DASM_ASSIGN_OR_RETURN(auto real, ResolveBelow(root, field, path));
    if (real) return *std::move(real);
  }
  return NotFound(field, path,
                  "put it there or add the folder that has it with --data");
}

absl::StatusOr<std::optional<std::string>> DataRoots::ResolveIn(
    const std::string& folder, const std::string& field,
    const std::string& path) {
  DASM_RETURN_IF_ERROR(CheckRelative(field, path));
  return ResolveBelow(folder, field, path);
}

absl::Status DataRoots::NotFound(const std::string& field,
                                 const std::string& what,
                                 const std::string& remedy) const {
  const std::string searched =
      folders_.empty()
          ? "no --data folder was given"
          : absl::StrCat("looked below ", absl::StrJoin(folders_, ", "));
  return WithFailureClass(
      WithReason(absl::FailedPreconditionError(absl::StrFormat(
                     "%s was not found (%s); %s", what, searched, remedy)),
                 "DATASET_NOT_FOUND", field),
      FailureClass::kData);
}

}  // namespace dasm
