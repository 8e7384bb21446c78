#include "common/artifact/blob_store.h"

#include "common/artifact/digest.h"
#include "common/base/status_macros.h"

namespace dasm {

absl::StatusOr<std::string> ReadBlob(BlobStore* store,
                                     const std::string& digest) {
  std::string data;
  DASM_RETURN_IF_ERROR(store->Read(digest, 0, [&](std::string_view chunk) {
    data.append(chunk);
    return absl::OkStatus();
  }));
  return data;
}

absl::StatusOr<std::string> WriteBlob(BlobStore* store, std::string_view data) {
  std::string digest = Sha256(data);
  auto writer = store->Create(digest, data.size());
  if (absl::IsAlreadyExists(writer.status())) return digest;
  DASM_RETURN_IF_ERROR(writer.status());
  DASM_RETURN_IF_ERROR((*writer)->Append(data));
  DASM_RETURN_IF_ERROR((*writer)->Commit());
  return digest;
}

}  // namespace dasm
