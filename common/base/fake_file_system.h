// The machine's file system with injected faults. Files are real (in a
// temporary folder of the test), so that what maps or opens them by itself
// sees them too.
#ifndef DASM_COMMON_BASE_FAKE_FILE_SYSTEM_H_
#define DASM_COMMON_BASE_FAKE_FILE_SYSTEM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/base/file_system.h"

namespace dasm {

// Thread-safe. A fault set once stays until changed unless its comment says
// "next".
class FakeFileSystem final : public FileSystem {
 public:
  explicit FakeFileSystem(FileSystem* base = LocalFileSystem()) : base_(base) {}

  // RESOURCE_EXHAUSTED after so many more appended bytes over all files; what
  // fits is written. FreeBytes() answers the rest.
  void SetDiskBytes(int64_t bytes);
  // The next `count` commits fail at their fsync: UNAVAILABLE, nothing at the
  // final path.
  void FailNextSyncs(int count);
  // The file of the next Create() keeps its first `bytes` only, although its
  // Commit() succeeds: what a power loss leaves of a disk that lied.
  void TearNextWrite(int64_t bytes);
  // Reads of paths that contain `part` fail with UNAVAILABLE (EIO); "" for
  // none.
  void FailReads(const std::string& part);
  // Reads of paths that contain `part` see the lowest bit of the byte at
  // `offset` flipped; "" for none.
  void RotReads(const std::string& part, int64_t offset);

  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path,
                                                 int mode = 0644) override;
  absl::StatusOr<std::string> Read(const std::string& path) override;
  absl::Status ReadChunks(
      const std::string& path, int64_t offset,
      const std::function<absl::Status(std::string_view)>& chunk) override;
  absl::StatusOr<int64_t> Size(const std::string& path) override;
  bool Exists(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status CreateDirectories(const std::string& path) override;
  absl::Status CreateChildren(const std::string& parent,
                              const std::vector<std::string>& names) override;
  absl::StatusOr<std::vector<std::string>> List(
      const std::string& path) override;
  absl::StatusOr<int64_t> FreeBytes(const std::string& path) override;

 private:
  class FaultyWriter;

  // How many of `wanted` bytes the disk still takes.
  int64_t TakeDiskBytes(int64_t wanted);
  bool TakeSyncFailure();

  FileSystem* const base_;
  absl::Mutex mutex_;
  std::optional<int64_t> disk_bytes_ ABSL_GUARDED_BY(mutex_);
  int failing_syncs_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<int64_t> tear_at_ ABSL_GUARDED_BY(mutex_);
  std::string failing_reads_ ABSL_GUARDED_BY(mutex_);
  std::string rotten_reads_ ABSL_GUARDED_BY(mutex_);
  int64_t rotten_offset_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dasm

#endif  // DASM_COMMON_BASE_FAKE_FILE_SYSTEM_H_
