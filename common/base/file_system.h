// The file operations that durability depends on, behind an interface so that
// tests inject a full disk, a failed fsync or a torn write
// (fake_file_system.h).
#ifndef DASM_COMMON_BASE_FILE_SYSTEM_H_
#define DASM_COMMON_BASE_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dasm {

// Names of files being written begin so; what a crash leaves of them may be
// removed by whoever owns the folder.
inline constexpr std::string_view kTemporaryPrefix = ".tmp-";

// "`what`: Is a directory" with the code that FileSystem promises; a full disk
// with the remedy.
absl::Status ErrnoStatus(int error, std::string_view what);

// Thread-safe. Errors name the path and errno: NOT_FOUND, PERMISSION_DENIED,
// RESOURCE_EXHAUSTED (ENOSPC, EDQUOT), else UNAVAILABLE.
class FileSystem {
 public:
  // A file being written; gone with its object unless committed.
  class Writer {
   public:
    virtual ~Writer() = default;
    virtual absl::Status Append(std::string_view data) = 0;
    // fsync, rename to the final path, fsync of the folder. Once only. When an
    // fsync of the file fails the final path is untouched. When that of the
    // folder fails the file is in place but may not survive a power loss: the
    // caller must not rely on it.
    virtual absl::Status Commit() = 0;
  };

  virtual ~FileSystem() = default;
  // A temporary file beside `path` that Commit() puts there atomically with
  // permissions `mode`.
  virtual absl::StatusOr<std::unique_ptr<Writer>> Create(
      const std::string& path, int mode = 0644) = 0;
  virtual absl::StatusOr<std::string> Read(const std::string& path) = 0;
  // Calls `chunk` with consecutive parts of at most 1 MiB.
  virtual absl::Status ReadChunks(
      const std::string& path, int64_t offset,
      const std::function<absl::Status(std::string_view)>& chunk) = 0;
  virtual absl::StatusOr<int64_t> Size(const std::string& path) = 0;
  virtual bool Exists(const std::string& path) = 0;
  // Synced into both folders.
  virtual absl::Status Rename(const std::string& from,
                              const std::string& to) = 0;
  // A missing file is success. Not synced: after a power loss it may be back.
  virtual absl::Status Remove(const std::string& path) = 0;
  // With parents, each synced into its own.
  virtual absl::Status CreateDirectories(const std::string& path) = 0;
  // Folders in `parent`, which exists, synced into it together.
  virtual absl::Status CreateChildren(
      const std::string& parent, const std::vector<std::string>& names) = 0;
  // Names (not paths) in byte order.
  virtual absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) = 0;
  virtual absl::StatusOr<int64_t> FreeBytes(const std::string& path) = 0;
};

// The machine's; never destroyed.
FileSystem* LocalFileSystem();

// Create + Append + Commit.
absl::Status WriteFileAtomically(FileSystem* fs, const std::string& path,
                                 std::string_view data);

// "NFS", "SMB", "FUSE" or "9p" for a type that statfs() tells, else empty.
std::string_view NetworkFileSystemName(int64_t type);

// FAILED_PRECONDITION where `path` (or the nearest parent that exists) lies on
// NFS, SMB, FUSE or 9p, whose renames and locks a store cannot trust.
absl::Status RefuseNetworkFileSystem(const std::string& path);

// An exclusive lock on a folder, held until destroyed or the process ends
// (however it ends). FAILED_PRECONDITION when another process has it, naming
// the folder and that process.
class DirectoryLock {
 public:
  static absl::StatusOr<std::unique_ptr<DirectoryLock>> Acquire(
      const std::string& directory, std::string_view holder);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}

  const int fd_;
};

}  // namespace dasm

#endif  // DASM_COMMON_BASE_FILE_SYSTEM_H_
