// Content-addressed bytes that never change. Whatever is returned matches its
// digest, or the read fails.
#ifndef DASM_COMMON_ARTIFACT_BLOB_STORE_H_
#define DASM_COMMON_ARTIFACT_BLOB_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dasm {

// Thread-safe.
class BlobStore {
 public:
  // A blob being written; gone with its object unless committed.
  class Writer {
   public:
    virtual ~Writer() = default;
    //   INVALID_ARGUMENT    more bytes than announced
    //   RESOURCE_EXHAUSTED  the disk is full
    virtual absl::Status Append(std::string_view data) = 0;
    // Durable once OK. INVALID_ARGUMENT when digest or size differ from what
    // was announced.
    virtual absl::Status Commit() = 0;
  };

  virtual ~BlobStore() = default;

  // ALREADY_EXISTS when the blob is there (nothing to do);
  // RESOURCE_EXHAUSTED below the free-space limit.
  virtual absl::StatusOr<std::unique_ptr<Writer>> Create(
      const std::string& digest, int64_t size_bytes) = 0;
  // Calls `chunk` with consecutive parts from `offset` on; bytes reach it only
  // after the whole blob was verified in this process's life time.
  //   NOT_FOUND, OUT_OF_RANGE
  //   DATA_LOSS  the bytes do not match; the blob was quarantined
  virtual absl::Status Read(
      const std::string& digest, int64_t offset,
      const std::function<absl::Status(std::string_view)>& chunk) = 0;
  // NOT_FOUND.
  virtual absl::StatusOr<int64_t> Size(const std::string& digest) = 0;
  // Re-hashes the blob now: OK, NOT_FOUND or DATA_LOSS (then quarantined).
  virtual absl::Status Verify(const std::string& digest) = 0;
  // A missing blob is success.
  virtual absl::Status Remove(const std::string& digest) = 0;
  virtual std::vector<std::string> FindMissing(
      const std::vector<std::string>& digests) = 0;
  virtual absl::StatusOr<std::vector<std::string>> List() = 0;
};

// Whole blob in memory; for small ones.
absl::StatusOr<std::string> ReadBlob(BlobStore* store,
                                     const std::string& digest);
// The digest of `data`, stored.
absl::StatusOr<std::string> WriteBlob(BlobStore* store, std::string_view data);

}  // namespace dasm

#endif  // DASM_COMMON_ARTIFACT_BLOB_STORE_H_
