// Finds a data set's files below the --data folders and checks what can be
// checked without decoding: headers, sizes, counts. Used at submit by the
// coordinator and before reading by the worker.
#ifndef DASM_COMMON_DATASET_SOURCE_H_
#define DASM_COMMON_DATASET_SOURCE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"

namespace dasm {

// The --data folders. A path in a spec is relative to one of them (the first
// that has it), without "..", and no link may lead outside.
class DataRoots {
 public:
  // FAILED_PRECONDITION for a folder that is not there.
  static absl::StatusOr<DataRoots> Create(std::vector<std::string> folders);
  // INVALID_ARGUMENT (field) for an absolute path, ".." or a link that leaves;
  // FAILED_PRECONDITION (field) naming the folders searched when it is nowhere.
  absl::StatusOr<std::string> Resolve(const std::string& field,
                                      const std::string& path) const;
  // Real paths.
  const std::vector<std::string>& folders() const { return folders_; }

 private:
  explicit DataRoots(std::vector<std::string> folders)
      : folders_(std::move(folders)) {}

  std::vector<std::string> folders_;
};

struct SourceFile {
  std::string role;    // "train_images", "train_labels", "train.0", ...
  std::string path;    // relative, as in the spec or as found by name
  std::string digest;  // of the bytes on disk (of an image folder: of the list
                       // of relative paths and digests)
};

struct DatasetSource {
  int classes = 0;  // 0 where only the content tells
  int channels = 0;
  int height = 0;
  int width = 0;
  int64_t train_images = 0;
  int64_t test_images = 0;
  int64_t smallest_class = 0;  // training images; 0: not known from headers
  std::vector<SourceFile> files;
};

// The absolute path of `file` on this machine: in the first --data folder whose
// copy has the digest (two folders may hold different files of one name).
//   INVALID_ARGUMENT            as Resolve()
//   FAILED_PRECONDITION (DATA)  nowhere, or everywhere with other content
absl::StatusOr<std::string> ResolveSource(const SourceFile& file,
                                          const DataRoots& roots);

// The usual files of `spec.name` (idx files also gzipped; below a folder of the
// data set's name or in the root itself, unless that is named after another
// data set), or the files the spec names.
// Digests of unchanged files (path, size, modification time, inode) are
// remembered in this process.
//   FAILED_PRECONDITION (field dataset...)  missing, truncated or wrong: names
//     the file, what is wrong and the remedy (for Fashion-MNIST the Debian
//     package dataset-fashion-mnist)
absl::StatusOr<DatasetSource> ProbeDataset(const DatasetSpec& spec,
                                           const DataRoots& roots);

struct SetSource {
  int64_t images = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  std::vector<SourceFile> files;
};
// The arrays of an evaluate-only job, by their headers. Errors as above (field
// synthetic_set...). INVALID_ARGUMENT for a set that is given by digest.
absl::StatusOr<SetSource> ProbeSyntheticSet(const SyntheticSetSpec& spec,
                                            const DataRoots& roots);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_SOURCE_H_
