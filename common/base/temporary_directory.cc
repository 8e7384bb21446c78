#include "common/base/temporary_directory.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file_system.h"

namespace dasm {

absl::StatusOr<std::unique_ptr<TemporaryDirectory>> TemporaryDirectory::Create(
    const std::string& parent) {
  std::string path = absl::StrCat(parent, "/dasm-XXXXXX");
  if (mkdtemp(path.data()) == nullptr) {
    return ErrnoStatus(errno,
                       absl::StrCat("cannot create a folder in ", parent));
  }
  return std::unique_ptr<TemporaryDirectory>(
      new TemporaryDirectory(std::move(path)));
}

TemporaryDirectory::TemporaryDirectory(std::string path)
    : path_(std::move(path)) {}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace dasm
