// A private folder that goes away with its object: sockets of embedded
// services, files of tests.
#ifndef DASM_COMMON_BASE_TEMPORARY_DIRECTORY_H_
#define DASM_COMMON_BASE_TEMPORARY_DIRECTORY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace dasm {

class TemporaryDirectory {
 public:
  // Mode 0700, in `parent`. The default keeps paths short: a unix socket's
  // takes 107 bytes.
  static absl::StatusOr<std::unique_ptr<TemporaryDirectory>> Create(
      const std::string& parent = "/tmp");
  // Removes it with what is in it.
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::string path);

  const std::string path_;
};

}  // namespace dasm

#endif  // DASM_COMMON_BASE_TEMPORARY_DIRECTORY_H_
