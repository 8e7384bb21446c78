#include "common/dataset/dataset_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/dataset/data_error.h"
#include "common/dataset/file_memo.h"
#include "common/dataset/public_dataset.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;
using Format = DatasetSpec::Format;

// Whether files that lie in `root` itself may be those of `known`: not when it
// is named after another data set, nor, where another has files of the same
// names (MNIST and Fashion-MNIST), when it is not named after this one.
bool MayHold(const std::string& root, const PublicDataset& known) {
  const std::string name = fs::path(root).filename().string();
  const auto named_after = [&](const PublicDataset& dataset) {
    return std::find(dataset.folders.begin(), dataset.folders.end(), name) !=
           dataset.folders.end();
  };
  for (const PublicDataset& other : PublicDatasets()) {
    if (other.name == known.name) continue;
    if (named_after(other)) return false;
    if (other.files[0].names == known.files[0].names && !named_after(known)) {
      return false;
    }
  }
  return true;
}

absl::StatusOr<std::vector<LocatedFile>> LocatePublished(
    const PublicDataset& known, const DataRoots& roots) {
  const std::string field = "dataset.name";
  std::string partial;
  for (const std::string& root : roots.folders()) {
    std::vector<std::string> folders = known.folders;
    if (MayHold(root, known)) folders.push_back("");
    for (const std::string& folder : folders) {
      std::vector<LocatedFile> found;
      std::string missing;
      for (const PublicDataset::File& file : known.files) {
        bool there = false;
        for (const std::string& name : file.names) {
          const std::string path =
              folder.empty() ? name : absl::StrCat(folder, "/", name);
          DASM_ASSIGN_OR_RETURN(const auto real,
                                DataRoots::ResolveIn(root, field, path));
          if (!real) continue;
          found.push_back({file.role, path, *real, field});
          there = true;
          break;
        }
        if (!there && missing.empty()) missing = file.names[0];
      }
      if (missing.empty()) return found;
      if (!found.empty() && partial.empty()) {
        partial = absl::StrFormat("%s (%s/%s has other files of %s)", missing,
                                  root, folder, known.name);
      }
    }
  }
  return roots.NotFound(field, partial.empty() ? known.name : partial,
                        known.remedy);
}

// "train.1" -> "dataset.cifar_binary.train[1]".
std::string FieldOfRole(Format format, const std::string& role) {
  switch (format) {
    case Format::kIdx:
      return absl::StrCat("dataset.idx.", role);
    case Format::kImageFolder:
      return absl::StrCat("dataset.image_folder.", role);
    case Format::kCifarBinary: {
      const std::vector<std::string> parts = absl::StrSplit(role, '.');
      return parts.size() == 2 ? absl::StrFormat("dataset.cifar_binary.%s[%s]",
                                                 parts[0], parts[1])
                               : absl::StrCat("dataset.cifar_binary.", role);
    }
    case Format::kSvhnMat:
      return absl::StrCat("dataset.svhn_mat.", role);
  }
  return "dataset";
}

absl::StatusOr<std::vector<LocatedFile>> LocateNamed(const DatasetSpec& spec,
                                                     const DataRoots& roots) {
  std::vector<LocatedFile> found;
  for (const auto& [role, path] : spec.files) {
    const std::string field = FieldOfRole(spec.format, role);
    DASM_ASSIGN_OR_RETURN(std::string absolute, roots.Resolve(field, path));
    found.push_back({role, path, std::move(absolute), field});
  }
  return found;
}

}  // namespace

absl::StatusOr<std::vector<LocatedFile>> LocateDataset(const DatasetSpec& spec,
                                                       const DataRoots& roots) {
  if (!spec.files.empty()) return LocateNamed(spec, roots);
  if (const PublicDataset* published = FindPublicDataset(spec.name);
      published != nullptr) {
    return LocatePublished(*published, roots);
  }
  return InvalidField("dataset.name",
                      absl::StrFormat("%s is not a known data set (mnist, "
                                      "fashion-mnist, svhn, cifar-10, "
                                      "cifar-100); or name its files by "
                                      "idx, cifar_binary or image_folder",
                                      spec.name));
}

absl::StatusOr<const LocatedFile*> WithRole(
    const std::vector<LocatedFile>& files, Format format,
    const std::string& role) {
  for (const LocatedFile& file : files) {
    if (file.role == role) return &file;
  }
  return InvalidField(FieldOfRole(format, role), "is not given; name the file");
}

absl::StatusOr<std::vector<const LocatedFile*>> WithPrefix(
    const std::vector<LocatedFile>& files, Format format,
    const std::string& prefix) {
  std::vector<const LocatedFile*> result;
  for (int i = 0;; ++i) {
    const std::string role = absl::StrCat(prefix, ".", i);
    const auto at = std::find_if(
        files.begin(), files.end(),
        [&](const LocatedFile& file) { return file.role == role; });
    if (at == files.end()) break;
    result.push_back(&*at);
  }
  if (result.empty()) return WithRole(files, format, prefix).status();
  return result;
}

absl::StatusOr<std::string> ResolveSource(const SourceFile& file,
                                          const DataRoots& roots) {
  std::string other;
  for (const std::string& root : roots.folders()) {
    DASM_ASSIGN_OR_RETURN(const auto real,
                          DataRoots::ResolveIn(root, file.role, file.path));
    if (!real) continue;
    DASM_ASSIGN_OR_RETURN(const std::string digest, SourceDigest(*real));
    if (digest == file.digest) return *real;
    if (other.empty()) other = *real;
  }
  if (other.empty()) {
    return roots.NotFound(
        file.role, file.path,
        "every worker needs the files that the coordinator saw");
  }
  return DataError(
      other, absl::StrFormat("has other content than when the job was "
                             "submitted (%s); put that file back or submit "
                             "again",
                             file.digest));
}

}  // namespace dasm
