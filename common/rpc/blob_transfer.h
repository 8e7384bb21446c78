// Blobs over ArtifactService, resumed by offset, verified by digest.
#ifndef DASM_COMMON_RPC_BLOB_TRANSFER_H_
#define DASM_COMMON_RPC_BLOB_TRANSFER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/base/file_system.h"
#include "dasm/v1/artifact.grpc.pb.h"

namespace dasm {

// Writes the blob to `path` atomically with permissions `mode`; goes on after a
// broken stream (five times). DATA_LOSS when the bytes received do not match.
absl::Status DownloadBlob(v1::ArtifactService::StubInterface* stub,
                          const std::string& digest, FileSystem* fs,
                          const std::string& path, int mode = 0644);
// OK also when the server already has it.
absl::Status UploadBlob(v1::ArtifactService::StubInterface* stub,
                        const std::string& digest, int64_t size_bytes,
                        FileSystem* fs, const std::string& path);

}  // namespace dasm

#endif  // DASM_COMMON_RPC_BLOB_TRANSFER_H_
