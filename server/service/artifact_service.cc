#include "server/service/artifact_service.h"

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "server/service/stream_writer.h"

namespace dasm {
namespace {

constexpr size_t kChunkLimit = size_t{1} << 20;
constexpr size_t kMostDigests = 100'000;

absl::Status CheckDigest(const std::string& digest) {
  if (IsDigest(digest)) return absl::OkStatus();
  return InvalidField("digest", "must be sha256: and 64 lower-case hex digits");
}

class BlobSource final : public StreamSource<v1::BlobChunk> {
 public:
  BlobSource(JobManager* manager, BlobStore* blobs, prometheus::Counter* bytes,
             prometheus::Counter* failures, std::string digest, int64_t offset)
      : manager_(manager),
        blobs_(blobs),
        bytes_(bytes),
        failures_(failures),
        digest_(std::move(digest)),
        offset_(offset) {}

  absl::StatusOr<Next> Fill(std::deque<v1::BlobChunk>* out) override {
    DASM_RETURN_IF_ERROR(CheckDigest(digest_));
    const absl::StatusOr<Next> next = ReadOne(out);
    if (absl::IsDataLoss(next.status())) failures_->Increment();
    if (absl::IsDataLoss(next.status()) || absl::IsNotFound(next.status())) {
      manager_->ReportBadBlob(digest_);
    }
    return next;
  }

 private:
  absl::StatusOr<Next> ReadOne(std::deque<v1::BlobChunk>* out) {
    DASM_ASSIGN_OR_RETURN(const int64_t size, blobs_->Size(digest_));
    if (offset_ < 0 || offset_ > size) {
      return WithReason(absl::OutOfRangeError(absl::StrCat(
                            "offset ", offset_, " is not within the ", size,
                            " bytes of the blob")),
                        "OFFSET_OUT_OF_RANGE", "offset");
    }
    // One chunk a call: the stream asks again when the client keeps up.
    std::string data;
    const absl::Status status =
        blobs_->Read(digest_, offset_, [&](std::string_view part) {
          data.append(part.substr(0, kChunkLimit));
          return absl::CancelledError("one chunk is enough");
        });
    if (!status.ok() && !(absl::IsCancelled(status) && !data.empty())) {
      return status;
    }
    bytes_->Increment(static_cast<double>(data.size()));
    v1::BlobChunk chunk;
    chunk.set_offset(offset_);
    chunk.set_size_bytes(size);
    offset_ += static_cast<int64_t>(data.size());
    chunk.set_data(std::move(data));
    out->push_back(std::move(chunk));
    return offset_ == size ? Next::kEnd : Next::kMore;
  }

  JobManager* const manager_;
  BlobStore* const blobs_;
  prometheus::Counter* const bytes_;
  prometheus::Counter* const failures_;
  const std::string digest_;
  int64_t offset_;
};

// Receives one blob. Each message is written on a pool thread before the next
// one is read, so a slow disk slows the client and nothing piles up.
class BlobReceiver final : public grpc::ServerReadReactor<v1::WriteBlobRequest>,
                           public std::enable_shared_from_this<BlobReceiver> {
 public:
  BlobReceiver(BlobStore* blobs, WorkPool* pool, RpcMetrics* metrics,
               prometheus::Counter* bytes, v1::WriteBlobResponse* response)
      : blobs_(blobs),
        pool_(pool),
        metrics_(metrics),
        bytes_(bytes),
        response_(response),
        start_(SystemClock()->Steady()) {}

  void Start() {
    self_ = shared_from_this();
    StartRead(&request_);
  }

 private:
  void OnReadDone(bool ok) override {
    pool_->Run([self = shared_from_this(), ok] { self->Handle(ok); });
  }

  // At most one at a time: the next read starts at its end.
  void Handle(bool ok) {
    const absl::Status status = ok ? Write() : Complete();
    if (ok && status.ok() && !complete_) {
      StartRead(&request_);
      return;
    }
    if (metrics_ != nullptr) {
      metrics_->Record("ArtifactService/WriteBlob", status.code(),
                       SystemClock()->Steady() - start_);
    }
    writer_.reset();
    Finish(ToGrpcStatus(status));
  }

  absl::Status Write() {
    if (!begun_) {
      begun_ = true;
      DASM_RETURN_IF_ERROR(CheckDigest(request_.digest()));
      if (request_.size_bytes() < 0) {
        return InvalidField("size_bytes", "must not be negative");
      }
      size_ = request_.size_bytes();
      auto writer = blobs_->Create(request_.digest(), size_);
      if (absl::IsAlreadyExists(writer.status())) {
        response_->set_size_bytes(size_);
        complete_ = true;
        return absl::OkStatus();
      }
      DASM_RETURN_IF_ERROR(writer.status());
      writer_ = *std::move(writer);
    }
    if (request_.data().empty()) return absl::OkStatus();
    bytes_->Increment(static_cast<double>(request_.data().size()));
    return writer_->Append(request_.data());
  }

  absl::Status Complete() {
    if (cancelled_) return absl::CancelledError("the client is gone");
    if (writer_ == nullptr) {
      return InvalidField("digest", "the stream had no first message");
    }
    DASM_RETURN_IF_ERROR(writer_->Commit());
    response_->set_size_bytes(size_);
    return absl::OkStatus();
  }

  void OnCancel() override { cancelled_ = true; }

  void OnDone() override {
    std::shared_ptr<BlobReceiver> self = std::move(self_);
  }

  BlobStore* const blobs_;
  WorkPool* const pool_;
  RpcMetrics* const metrics_;
  prometheus::Counter* const bytes_;
  v1::WriteBlobResponse* const response_;
  const absl::Duration start_;
  std::shared_ptr<BlobReceiver> self_;
  v1::WriteBlobRequest request_;
  std::unique_ptr<BlobStore::Writer> writer_;
  int64_t size_ = 0;
  bool begun_ = false;
  bool complete_ = false;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

ArtifactService::ArtifactService(JobManager* manager, BlobStore* blobs,
                                 WorkPool* pool, Metrics* metrics,
                                 RpcMetrics* rpc_metrics)
    : manager_(manager),
      blobs_(blobs),
      pool_(pool),
      rpc_metrics_(rpc_metrics),
      bytes_read_(&metrics->Counters(kArtifactBytes).Add({{"op", "read"}})),
      bytes_written_(&metrics->Counters(kArtifactBytes).Add({{"op", "write"}})),
      verify_failures_(&metrics->Counters(kArtifactVerifyFailures).Add({})) {}

grpc::ServerWriteReactor<v1::BlobChunk>* ArtifactService::ReadBlob(
    grpc::CallbackServerContext*, const v1::ReadBlobRequest* request) {
  auto stream = std::make_shared<StreamWriter<v1::BlobChunk>>(
      pool_, rpc_metrics_, "ArtifactService/ReadBlob");
  StreamWriter<v1::BlobChunk>* reactor = stream.get();
  stream->Start(std::make_unique<BlobSource>(
      manager_, blobs_, bytes_read_, verify_failures_, request->digest(),
      request->offset()));
  return reactor;
}

grpc::ServerReadReactor<v1::WriteBlobRequest>* ArtifactService::WriteBlob(
    grpc::CallbackServerContext*, v1::WriteBlobResponse* response) {
  auto receiver = std::make_shared<BlobReceiver>(blobs_, pool_, rpc_metrics_,
                                                 bytes_written_, response);
  BlobReceiver* reactor = receiver.get();
  receiver->Start();
  return reactor;
}

grpc::Status ArtifactService::FindMissingBlobs(
    grpc::ServerContext*, const v1::FindMissingBlobsRequest* request,
    v1::FindMissingBlobsResponse* response) {
  return rpc::Handle(
      rpc_metrics_, "ArtifactService/FindMissingBlobs", [&]() -> absl::Status {
        if (static_cast<size_t>(request->digests_size()) > kMostDigests) {
          return InvalidField(
              "digests", absl::StrCat("at most ", kMostDigests, " at a time"));
        }
        const std::vector<std::string> digests(request->digests().begin(),
                                               request->digests().end());
        for (const std::string& digest : digests) {
          DASM_RETURN_IF_ERROR(CheckDigest(digest));
        }
        for (std::string& missing : blobs_->FindMissing(digests)) {
          response->add_missing(std::move(missing));
        }
        return absl::OkStatus();
      });
}

}  // namespace dasm
