// The files of a finished job on the user's disk.
#ifndef DASM_CLIENT_COMMAND_RESULT_FILES_H_
#define DASM_CLIENT_COMMAND_RESULT_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "client/command/context.h"

namespace dasm {

// Writes synthetic.safetensors, grid.png (a job that distilled has both),
// manifest.json and report.json; of a job that matched trajectories also
// curves-K.safetensors of segment K, range-K.safetensors where a range was
// found, and snapshot-I.safetensors where the set of iteration I was chosen
// (common/spec/task_parameters.h has their formats); into `directory`, each
// whole or not at all and checked against its digest. report.json comes last:
// where it is, all is.
//   NOT_FOUND, FAILED_PRECONDITION (not succeeded), DATA_LOSS
absl::Status DownloadResult(Context* context, const std::string& job,
                            const std::string& directory);

// Re-hashes the files of `directory` against its manifest.json.
// DATA_LOSS naming every file that differs; NOT_FOUND without a manifest.
absl::Status VerifyDirectory(const std::string& directory);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_RESULT_FILES_H_
