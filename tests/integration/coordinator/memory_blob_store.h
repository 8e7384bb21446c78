// A BlobStore without a disk: hundreds of tests' worth of fsyncs less.
#ifndef DASM_TESTS_INTEGRATION_COORDINATOR_MEMORY_BLOB_STORE_H_
#define DASM_TESTS_INTEGRATION_COORDINATOR_MEMORY_BLOB_STORE_H_

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/artifact/blob_store.h"
#include "common/artifact/digest.h"

namespace dasm::testing_support {

// Thread-safe.
class MemoryBlobStore final : public BlobStore {
 public:
  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& digest,
                                                 int64_t size_bytes) override {
    absl::MutexLock lock(&mutex_);
    if (blobs_.contains(digest)) return absl::AlreadyExistsError(digest);
    return std::make_unique<MemoryWriter>(this, digest);
  }
  absl::Status Read(
      const std::string& digest, int64_t offset,
      const std::function<absl::Status(std::string_view)>& chunk) override {
    std::string bytes;
    {
      absl::MutexLock lock(&mutex_);
      const auto it = blobs_.find(digest);
      if (it == blobs_.end()) return absl::NotFoundError(digest);
      bytes = it->second;
    }
    if (offset < 0 || offset > static_cast<int64_t>(bytes.size())) {
      return absl::OutOfRangeError(digest);
    }
    return chunk(std::string_view(bytes).substr(static_cast<size_t>(offset)));
  }
  absl::StatusOr<int64_t> Size(const std::string& digest) override {
    absl::MutexLock lock(&mutex_);
    const auto it = blobs_.find(digest);
    if (it == blobs_.end()) return absl::NotFoundError(digest);
    return static_cast<int64_t>(it->second.size());
  }
  absl::Status Verify(const std::string& digest) override {
    absl::MutexLock lock(&mutex_);
    const auto it = blobs_.find(digest);
    if (it == blobs_.end()) return absl::NotFoundError(digest);
    if (Sha256(it->second) == digest) return absl::OkStatus();
    blobs_.erase(it);  // quarantined
    return absl::DataLossError(digest);
  }
  // What a bad disk does to a stored blob.
  void FlipBit(const std::string& digest) {
    absl::MutexLock lock(&mutex_);
    blobs_.at(digest).at(0) ^= 1;
  }
  absl::Status Remove(const std::string& digest) override {
    absl::MutexLock lock(&mutex_);
    blobs_.erase(digest);
    return absl::OkStatus();
  }
  std::vector<std::string> FindMissing(
      const std::vector<std::string>& digests) override {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> missing;
    for (const std::string& digest : digests) {
      if (!blobs_.contains(digest)) missing.push_back(digest);
    }
    return missing;
  }
  absl::StatusOr<std::vector<std::string>> List() override {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> digests;
    for (const auto& [digest, bytes] : blobs_) digests.push_back(digest);
    return digests;
  }

 private:
  class MemoryWriter final : public Writer {
   public:
    MemoryWriter(MemoryBlobStore* store, std::string digest)
        : store_(store), digest_(std::move(digest)) {}
    absl::Status Append(std::string_view data) override {
      bytes_ += data;
      return absl::OkStatus();
    }
    absl::Status Commit() override {
      if (Sha256(bytes_) != digest_) return absl::InvalidArgumentError(digest_);
      absl::MutexLock lock(&store_->mutex_);
      store_->blobs_[digest_] = bytes_;
      return absl::OkStatus();
    }

   private:
    MemoryBlobStore* const store_;
    const std::string digest_;
    std::string bytes_;
  };

  absl::Mutex mutex_;
  std::map<std::string, std::string> blobs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_INTEGRATION_COORDINATOR_MEMORY_BLOB_STORE_H_
