// Blobs in a folder of a local disk: blobs/sha256/ab/<64 hex digits>, mode
// 0444; a blob found bad is moved to quarantine/.
#ifndef DASM_COMMON_ARTIFACT_LOCAL_BLOB_STORE_H_
#define DASM_COMMON_ARTIFACT_LOCAL_BLOB_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "common/artifact/blob_store.h"
#include "common/base/file_system.h"

namespace dasm {

// Thread-safe; one process per folder (the owner's DirectoryLock).
class LocalBlobStore final : public BlobStore {
 public:
  struct Options {
    std::string directory;
    // Create() refuses what would leave less than this free on the disk.
    int64_t min_free_bytes = 0;
    // Called, without a lock held, after a blob was found bad and moved away:
    // its producer must run again.
    std::function<void(const std::string& digest)> on_quarantine;
  };

  // Creates and syncs the folders, tries a rename that replaces a file, and
  // removes what a crash left half written.
  //   FAILED_PRECONDITION  a network file system, or renames do not work
  static absl::StatusOr<std::unique_ptr<LocalBlobStore>> Create(
      Options options, FileSystem* fs = LocalFileSystem());

  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& digest,
                                                 int64_t size_bytes) override;
  absl::Status Read(
      const std::string& digest, int64_t offset,
      const std::function<absl::Status(std::string_view)>& chunk) override;
  absl::StatusOr<int64_t> Size(const std::string& digest) override;
  absl::Status Verify(const std::string& digest) override;
  absl::Status Remove(const std::string& digest) override;
  std::vector<std::string> FindMissing(
      const std::vector<std::string>& digests) override;
  absl::StatusOr<std::vector<std::string>> List() override;

 private:
  class LocalWriter;

  LocalBlobStore(Options options, FileSystem* fs);
  std::string Path(const std::string& digest) const;
  // Whether the bytes on the disk match.
  absl::StatusOr<bool> Matches(const std::string& digest);
  // Moves the blob away unless it turns out to be sound under the lock (it may
  // have been written anew since it was found bad). Returns DATA_LOSS.
  absl::Status Quarantine(const std::string& digest);
  absl::Status Reserve(int64_t bytes);
  void Release(int64_t bytes);

  const Options options_;
  FileSystem* const fs_;
  // Held shared by what puts a blob in place and exclusively by what takes a
  // bad one away, so that a sound one is never taken for it.
  absl::Mutex placing_;
  absl::Mutex mutex_ ABSL_ACQUIRED_AFTER(placing_);
  absl::flat_hash_set<std::string> verified_ ABSL_GUARDED_BY(mutex_);
  // Announced by open writers and not yet on the disk.
  int64_t reserved_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dasm

#endif  // DASM_COMMON_ARTIFACT_LOCAL_BLOB_STORE_H_
