// What this process knows of files that have not changed since it looked: a
// submit must not read 170 MB again.
#ifndef DASM_COMMON_DATASET_FILE_MEMO_H_
#define DASM_COMMON_DATASET_FILE_MEMO_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

struct FileFacts {
  std::vector<int64_t> shape;         // of images: [N, C, H, W]
  std::vector<int64_t> label_counts;  // by label
  std::string digest;
};

// `look(path)`, or what it returned for `kind` when the file had the same size,
// times, inode and device. Errors are not remembered, nor is a file that
// changed within the last 50 ms: its next change might leave the same times.
// Thread-safe; two callers may look at once.
//   FAILED_PRECONDITION (DATA)  naming the file: not there or unreadable; it
//     changed while it was looked at
absl::StatusOr<FileFacts> RememberFacts(
    std::string_view kind, const std::string& path,
    const std::function<absl::StatusOr<FileFacts>(const std::string&)>& look);

// SHA-256 of a file; of a picture folder (image_folder.h): of the lines
// "<relative path>\t<digest>\n" of its pictures. Remembered file by file.
// Errors as above and those of ListImageFolder.
absl::StatusOr<std::string> SourceDigest(const std::string& path);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_FILE_MEMO_H_
