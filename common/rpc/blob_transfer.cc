#include "common/rpc/blob_transfer.h"

#include <algorithm>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/grpc_status.h"

namespace dasm {
namespace {

constexpr absl::Duration kMaxBackoff = absl::Seconds(5);

// Runs `attempt` until it ends with anything but UNAVAILABLE.
template <typename Attempt>
absl::Status Retry(const TransferOptions& options, Attempt attempt) {
  absl::Duration backoff = options.backoff;
  for (int retry = 0;; ++retry) {
    absl::Status status = attempt();
    if (!absl::IsUnavailable(status) || retry == options.retries) {
      return status;
    }
    absl::SleepFor(backoff);
    backoff = std::min(2 * backoff, kMaxBackoff);
  }
}

// What has arrived of a blob, over all streams.
struct Download {
  std::unique_ptr<FileSystem::Writer> file;
  Hasher hasher{/*chunks=*/false};
  int64_t received = 0;
  int64_t size_bytes = -1;  // not known yet
};

absl::Status Take(const v1::BlobChunk& chunk, const std::string& digest,
                  Download* download) {
  if (download->size_bytes < 0) download->size_bytes = chunk.size_bytes();
  const int64_t left = download->size_bytes - download->received;
  if (chunk.size_bytes() != download->size_bytes ||
      chunk.offset() != download->received ||
      static_cast<int64_t>(chunk.data().size()) > left) {
    return absl::DataLossError(
        absl::StrCat("blob ", digest, ": the server sent ", chunk.data().size(),
                     " bytes at ", chunk.offset(), " of ", chunk.size_bytes(),
                     "; expected were bytes at ", download->received, " of ",
                     download->size_bytes));
  }
  DASM_RETURN_IF_ERROR(download->file->Append(chunk.data()));
  download->hasher.Update(chunk.data());
  download->received += chunk.data().size();
  return absl::OkStatus();
}

}  // namespace

absl::Status DownloadBlob(v1::ArtifactService::StubInterface* stub,
                          const std::string& digest, FileSystem* fs,
                          const std::string& path, int mode,
                          const TransferOptions& options) {
  Download download;
  DASM_ASSIGN_OR_RETURN(download.file, fs->Create(path, mode));
  DASM_RETURN_IF_ERROR(Retry(options, [&]() -> absl::Status {
    v1::ReadBlobRequest request;
    request.set_digest(digest);
    request.set_offset(download.received);
    grpc::ClientContext context;
    const auto reader = stub->ReadBlob(&context, request);
    v1::BlobChunk chunk;
    absl::Status taken;
    while (taken.ok() && reader->Read(&chunk)) {
      taken = Take(chunk, digest, &download);
    }
    // A stream must be read to its end before Finish() returns.
    if (!taken.ok()) context.TryCancel();
    const absl::Status finished = FromGrpcStatus(reader->Finish());
    if (!taken.ok()) {
      // UNAVAILABLE of our own disk is not the stream's.
      return absl::IsUnavailable(taken) ? absl::InternalError(taken.message())
                                        : taken;
    }
    DASM_RETURN_IF_ERROR(finished);
    if (download.received < download.size_bytes) {
      return absl::UnavailableError(
          absl::StrCat("blob ", digest, ": the stream ended at byte ",
                       download.received, " of ", download.size_bytes));
    }
    return absl::OkStatus();
  }));
  const std::string found = download.hasher.Finish().digest;
  if (found != digest) {
    return absl::DataLossError(absl::StrCat("the bytes received of blob ",
                                            digest, " hash to ", found));
  }
  return download.file->Commit();
}

absl::Status UploadBlob(v1::ArtifactService::StubInterface* stub,
                        const std::string& digest, int64_t size_bytes,
                        FileSystem* fs, const std::string& path,
                        const TransferOptions& options) {
  const absl::Status status = Retry(options, [&]() -> absl::Status {
    grpc::ClientContext context;
    v1::WriteBlobResponse response;
    const auto writer = stub->WriteBlob(&context, &response);
    v1::WriteBlobRequest request;
    request.set_digest(digest);
    request.set_size_bytes(size_bytes);
    // False once the server has answered: it has the blob, or an error.
    bool open = writer->Write(request);
    request.Clear();
    absl::Status read;
    if (open) {
      read = fs->ReadChunks(path, 0, [&](std::string_view chunk) {
        request.set_data(chunk.data(), chunk.size());
        open = writer->Write(request);
        return open ? absl::OkStatus() : absl::CancelledError();
      });
    }
    if (open && !read.ok()) {
      context.TryCancel();
      (void)writer->Finish();
      return absl::IsUnavailable(read) ? absl::InternalError(read.message())
                                       : read;
    }
    writer->WritesDone();
    DASM_RETURN_IF_ERROR(FromGrpcStatus(writer->Finish()));
    if (response.size_bytes() != size_bytes) {
      return absl::DataLossError(
          absl::StrCat("blob ", digest, " has ", size_bytes, " bytes here but ",
                       response.size_bytes(), " on the server"));
    }
    return absl::OkStatus();
  });
  return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
}

}  // namespace dasm
