// The file that a job's experts are to learn from easy to hard by, as far as
// its header tells.
#ifndef DASM_SERVER_MANAGER_SCORE_FILE_H_
#define DASM_SERVER_MANAGER_SCORE_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "common/dataset/source.h"

namespace dasm {

// `path` as the spec has it, below a --data folder: an .npy array of floats
// [N], or of integers [classes, n], for the N training images of `data` without
// the share `validation` of each class. The role of the result is "scores".
//   INVALID_ARGUMENT, FAILED_PRECONDITION (field experts.schedule.score_file)
//     as DataRoots::Resolve; DATA for another shape or type, or no .npy file
absl::StatusOr<SourceFile> ProbeScoreFile(const std::string& path,
                                          const DatasetSource& data,
                                          double validation,
                                          const DataRoots& roots);

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_SCORE_FILE_H_
