// The folders that a service may read data sets from (--data). Everything that
// a job file names lies below one of them.
//
// Errors name the field of the job file that has the path. Threads: immutable.
#ifndef DASM_COMMON_DATASET_DATA_ROOTS_H_
#define DASM_COMMON_DATASET_DATA_ROOTS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dasm {

// A path in a spec is relative to one of the folders (the first that has it),
// without "..", and no link may lead outside.
class DataRoots {
 public:
  // FAILED_PRECONDITION for a folder that is not there.
  static absl::StatusOr<DataRoots> Create(std::vector<std::string> folders);
  // INVALID_ARGUMENT (field) for an absolute path, ".." or a link that leaves;
  // FAILED_PRECONDITION (field) naming the folders searched when it is nowhere.
  absl::StatusOr<std::string> Resolve(const std::string& field,
                                      const std::string& path) const;
  // The same in `folder`, one of folders(), alone; none when it is not there.
  static absl::StatusOr<std::optional<std::string>> ResolveIn(
      const std::string& folder, const std::string& field,
      const std::string& path);
  // FAILED_PRECONDITION (field, failure class DATA): `what` is below none of
  // the folders, which are named; `remedy` says what to do.
  absl::Status NotFound(const std::string& field, const std::string& what,
                        const std::string& remedy) const;
  // Real paths.
  const std::vector<std::string>& folders() const { return folders_; }

 private:
  explicit DataRoots(std::vector<std::string> folders)
      : folders_(std::move(folders)) {}

  std::vector<std::string> folders_;
};

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_DATA_ROOTS_H_
