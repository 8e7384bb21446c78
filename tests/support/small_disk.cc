#include "tests/support/small_disk.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"

namespace dasm::testing_support {
namespace {

std::string Filler(const std::string& folder) {
  return absl::StrCat(folder, "/filler");
}

}  // namespace

void UnshareMounts() {
  DASM_CHECK(unshare(CLONE_NEWNS) == 0);
  DASM_CHECK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
}

SmallDisk::SmallDisk(std::string folder, int64_t bytes)
    : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
  DASM_CHECK(mount("tmpfs", folder_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV,
                   absl::StrCat("size=", bytes).c_str()) == 0);
}

SmallDisk::~SmallDisk() { umount2(folder_.c_str(), MNT_DETACH); }

void SmallDisk::Fill(int64_t left) {
  const int fd = open(Filler(folder_).c_str(),
                      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  DASM_CHECK(fd >= 0);
  const std::vector<char> block(1 << 16);
  int64_t excess = 0;
  while ((excess = free_bytes() - left) > 0) {
    const auto size = std::min<int64_t>(excess, block.size());
    if (write(fd, block.data(), size) < 0) break;
  }
  close(fd);
}

void SmallDisk::Free() { std::filesystem::remove(Filler(folder_)); }

int64_t SmallDisk::free_bytes() const {
  struct statvfs info = {};
  DASM_CHECK(statvfs(folder_.c_str(), &info) == 0);
  return static_cast<int64_t>(info.f_bavail) *
         static_cast<int64_t>(info.f_frsize);
}

}  // namespace dasm::testing_support
