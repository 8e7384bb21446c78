// Blobs over ArtifactService, resumed by offset, verified by digest.
#ifndef DASM_COMMON_RPC_BLOB_TRANSFER_H_
#define DASM_COMMON_RPC_BLOB_TRANSFER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/file_system.h"
#include "dasm/v1/artifact.grpc.pb.h"

namespace dasm {

struct TransferOptions {
  // How often a broken stream (UNAVAILABLE, or one that ends early) is tried
  // again.
  int retries = 5;
  // Before the first retry; doubles up to 5 s.
  absl::Duration backoff = absl::Milliseconds(200);
};

// Writes the blob to `path` atomically with permissions `mode`; goes on
// behind the last byte after a broken stream. DATA_LOSS when the bytes received
// do not match.
absl::Status DownloadBlob(v1::ArtifactService::StubInterface* stub,
                          const std::string& digest, FileSystem* fs,
                          const std::string& path, int mode = 0644,
                          const TransferOptions& options = {});
// OK also when the server already has it. A broken stream starts again from the
// first byte.
absl::Status UploadBlob(v1::ArtifactService::StubInterface* stub,
                        const std::string& digest, int64_t size_bytes,
                        FileSystem* fs, const std::string& path,
                        const TransferOptions& options = {});

}  // namespace dasm

#endif  // DASM_COMMON_RPC_BLOB_TRANSFER_H_
