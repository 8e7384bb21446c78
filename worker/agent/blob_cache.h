// The worker's copies of blobs: read-only files named by digest, up to a size
// limit, the least recently used given up first.
//
// A file is verified once when it is admitted, and once more when a later
// process of the agent first uses it. Files in use are pinned.
// Errors: RESOURCE_EXHAUSTED when what is pinned leaves no room.
// Threads: thread-safe; a digest is fetched once however many ask for it.
#ifndef DASM_WORKER_AGENT_BLOB_CACHE_H_
#define DASM_WORKER_AGENT_BLOB_CACHE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/file_system.h"

namespace dasm {

class BlobCache {
 public:
  struct Options {
    std::string directory;
    int64_t max_bytes = int64_t{10} << 30;
  };
  // Writes the verified blob to a path, atomically and with mode 0444.
  using Fetch = std::function<absl::Status(const std::string& digest,
                                           const std::string& path)>;

  // Keeps its file until destroyed. Movable.
  class Pin {
   public:
    Pin(BlobCache* cache, std::string digest, std::string path);
    Pin(Pin&& other) noexcept;
    Pin& operator=(Pin&&) = delete;
    ~Pin();
    const std::string& path() const { return path_; }

   private:
    BlobCache* cache_;
    std::string digest_;
    std::string path_;
  };

  // Takes over what an earlier process left in the folder.
  static absl::StatusOr<std::unique_ptr<BlobCache>> Open(Options options,
                                                         FileSystem* fs,
                                                         Fetch fetch);

  // The blob, fetched if it is not here; errors of `fetch` pass through.
  absl::StatusOr<Pin> Acquire(const std::string& digest, int64_t size_bytes);
  // Takes over a file whose digest was just computed, by renaming it. The file
  // is gone from `path` when OK; without room it stays.
  absl::Status Admit(const std::string& digest, int64_t size_bytes,
                     const std::string& path);
  // Of all files here.
  int64_t bytes() const;

 private:
  struct Entry {
    int64_t size_bytes = 0;
    int pins = 0;
    uint64_t used = 0;  // by use_, for the order
    bool present = false;
    bool verified = false;
    bool busy = false;  // being fetched or verified
  };

  BlobCache(Options options, FileSystem* fs, Fetch fetch);
  std::string PathOf(const std::string& digest) const;
  absl::Status MakeRoom(int64_t size_bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Load(const std::string& digest, bool present);
  void Unpin(const std::string& digest);

  const Options options_;
  FileSystem* const fs_;
  const Fetch fetch_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // Of the entries that are here or on their way.
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t use_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_BLOB_CACHE_H_
