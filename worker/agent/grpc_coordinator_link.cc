#include "worker/agent/grpc_coordinator_link.h"

#include <chrono>
#include <utility>

#include "absl/synchronization/notification.h"
#include "common/rpc/blob_transfer.h"
#include "common/rpc/grpc_status.h"

namespace dasm {
namespace {

using worker::v1::WorkerService;

constexpr absl::Duration kUnaryDeadline = absl::Seconds(20);

std::chrono::system_clock::time_point After(absl::Duration timeout) {
  return absl::ToChronoTime(absl::Now() + timeout);
}

template <typename Request, typename Response>
class GrpcHeldCall final : public CoordinatorLink::HeldCall<Response> {
 public:
  // `start` begins the call with what it is given.
  template <typename Start>
  GrpcHeldCall(const Request& request, absl::Duration timeout,
               const Start& start)
      : request_(request) {
    context_.set_deadline(After(timeout));
    start(&context_, &request_, &response_, [this](grpc::Status status) {
      status_ = std::move(status);
      done_.Notify();
    });
  }
  ~GrpcHeldCall() override {
    context_.TryCancel();
    done_.WaitForNotification();
  }

  absl::StatusOr<Response> Wait() override {
    done_.WaitForNotification();
    if (!status_.ok()) return FromGrpcStatus(status_);
    return std::move(response_);
  }
  void Cancel() override { context_.TryCancel(); }

 private:
  const Request request_;
  Response response_;
  grpc::ClientContext context_;
  grpc::Status status_;
  absl::Notification done_;
};

template <typename Request, typename Response>
absl::Status Call(WorkerService::Stub* stub,
                  grpc::Status (WorkerService::Stub::*method)(
                      grpc::ClientContext*, const Request&, Response*),
                  const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(After(kUnaryDeadline));
  Response response;
  return FromGrpcStatus((stub->*method)(&context, request, &response));
}

}  // namespace

GrpcCoordinatorLink::GrpcCoordinatorLink(
    const std::shared_ptr<grpc::Channel>& channel, FileSystem* fs)
    : stub_(WorkerService::NewStub(channel)),
      artifacts_(v1::ArtifactService::NewStub(channel)),
      fs_(fs) {}

std::shared_ptr<CoordinatorLink::SynchronizeCall>
GrpcCoordinatorLink::Synchronize(const worker::v1::SynchronizeRequest& request,
                                 absl::Duration timeout) {
  return std::make_shared<GrpcHeldCall<worker::v1::SynchronizeRequest,
                                       worker::v1::SynchronizeResponse>>(
      request, timeout,
      [this](grpc::ClientContext* context,
             const worker::v1::SynchronizeRequest* sent,
             worker::v1::SynchronizeResponse* response, auto done) {
        stub_->async()->Synchronize(context, sent, response, std::move(done));
      });
}

std::shared_ptr<CoordinatorLink::JoinGangCall> GrpcCoordinatorLink::JoinGang(
    const worker::v1::JoinGangRequest& request, absl::Duration timeout) {
  return std::make_shared<
      GrpcHeldCall<worker::v1::JoinGangRequest, worker::v1::JoinGangResponse>>(
      request, timeout,
      [this](grpc::ClientContext* context,
             const worker::v1::JoinGangRequest* sent,
             worker::v1::JoinGangResponse* response, auto done) {
        stub_->async()->JoinGang(context, sent, response, std::move(done));
      });
}

absl::Status GrpcCoordinatorLink::CommitResult(
    const worker::v1::CommitResultRequest& request) {
  return Call(stub_.get(), &WorkerService::Stub::CommitResult, request);
}

absl::Status GrpcCoordinatorLink::ReportFailure(
    const worker::v1::ReportFailureRequest& request) {
  return Call(stub_.get(), &WorkerService::Stub::ReportFailure, request);
}

absl::Status GrpcCoordinatorLink::CommitCheckpoint(
    const worker::v1::CommitCheckpointRequest& request) {
  return Call(stub_.get(), &WorkerService::Stub::CommitCheckpoint, request);
}

absl::Status GrpcCoordinatorLink::ReportTelemetry(
    const worker::v1::ReportTelemetryRequest& request) {
  return Call(stub_.get(), &WorkerService::Stub::ReportTelemetry, request);
}

absl::Status GrpcCoordinatorLink::Download(const std::string& digest,
                                           const std::string& path, int mode) {
  return DownloadBlob(artifacts_.get(), digest, fs_, path, mode);
}

absl::Status GrpcCoordinatorLink::Upload(const std::string& digest,
                                         int64_t size_bytes,
                                         const std::string& path) {
  return UploadBlob(artifacts_.get(), digest, size_bytes, fs_, path);
}

}  // namespace dasm
