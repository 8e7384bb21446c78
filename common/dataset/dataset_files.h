// Which files a data set consists of, and where they lie on this machine. What
// is in them is for source.h.
//
// A file has a role: "train_images", "train_labels", "train", ... ; "train.0",
// "train.1", ... where a half is cut into several. Threads: pure functions.
#ifndef DASM_COMMON_DATASET_DATASET_FILES_H_
#define DASM_COMMON_DATASET_DATASET_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/data_roots.h"
#include "common/spec/job_spec.h"

namespace dasm {

// A file as the coordinator saw it and tells workers of it.
struct SourceFile {
  std::string role;
  std::string path;    // relative, as in the spec or as found by name
  std::string digest;  // of the bytes on disk (of an image folder: of the list
                       // of relative paths and digests)
};

// A file that was found on this machine.
struct LocatedFile {
  std::string role;
  std::string relative;  // below a --data folder
  std::string absolute;
  std::string field;  // of the job file, for errors
};

// The files that `spec` names, or the usual ones of `spec.name` (idx files also
// gzipped; below a folder of the data set's name or in the root itself, unless
// that is named after another data set).
//   INVALID_ARGUMENT (field)             as DataRoots::Resolve; dataset.name
//     is not known and no files are named
//   FAILED_PRECONDITION (field, DATA)    a file is nowhere; names it and the
//     remedy (for Fashion-MNIST the Debian package dataset-fashion-mnist)
absl::StatusOr<std::vector<LocatedFile>> LocateDataset(const DatasetSpec& spec,
                                                       const DataRoots& roots);

// The one with this role, of a data set of `format`; borrowed from `files`.
// INVALID_ARGUMENT (field) when none was given.
absl::StatusOr<const LocatedFile*> WithRole(
    const std::vector<LocatedFile>& files, DatasetSpec::Format format,
    const std::string& role);
// "prefix.0", "prefix.1", ... in that order; at least one. Errors as above.
absl::StatusOr<std::vector<const LocatedFile*>> WithPrefix(
    const std::vector<LocatedFile>& files, DatasetSpec::Format format,
    const std::string& prefix);

// The absolute path of `file` on this machine: in the first --data folder whose
// copy has the digest (two folders may hold different files of one name).
//   INVALID_ARGUMENT            as DataRoots::Resolve
//   FAILED_PRECONDITION (DATA)  nowhere, or everywhere with other content
absl::StatusOr<std::string> ResolveSource(const SourceFile& file,
                                          const DataRoots& roots);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_DATASET_FILES_H_
