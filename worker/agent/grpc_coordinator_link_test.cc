#include "worker/agent/grpc_coordinator_link.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "common/base/error.h"
#include "common/rpc/grpc_status.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

// Holds every Synchronize until its client gives up.
class HoldingService final : public worker::v1::WorkerService::CallbackService {
 public:
  absl::Notification arrived;
  absl::Notification joining;

 private:
  class Held final : public grpc::ServerUnaryReactor {
    void OnCancel() override { Finish(grpc::Status::CANCELLED); }
    void OnDone() override { delete this; }
  };
  grpc::ServerUnaryReactor* Synchronize(
      grpc::CallbackServerContext*, const worker::v1::SynchronizeRequest*,
      worker::v1::SynchronizeResponse*) override {
    arrived.Notify();
    return new Held;
  }
  grpc::ServerUnaryReactor* JoinGang(
      grpc::CallbackServerContext* context,
      const worker::v1::JoinGangRequest* request,
      worker::v1::JoinGangResponse* response) override {
    if (request->fence() == 1) {
      joining.Notify();
      return new Held;
    }
    response->set_complete(true);
    *response->add_members() = request->member();
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerUnaryReactor* CommitResult(
      grpc::CallbackServerContext* context,
      const worker::v1::CommitResultRequest* request,
      worker::v1::CommitResultResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(ToGrpcStatus(
        request->fence() == 2
            ? absl::OkStatus()
            : WithReason(absl::AbortedError("superseded"), "STALE_FENCE")));
    return reactor;
  }
};

class GrpcCoordinatorLinkTest : public ::testing::Test {
 protected:
  GrpcCoordinatorLinkTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    link_ = std::make_unique<GrpcCoordinatorLink>(
        server_->InProcessChannel(grpc::ChannelArguments()), LocalFileSystem());
  }

  HoldingService service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<GrpcCoordinatorLink> link_;
};

TEST_F(GrpcCoordinatorLinkTest, CancelEndsAHeldSynchronize) {
  const auto call = link_->Synchronize({}, absl::Minutes(5));
  service_.arrived.WaitForNotification();
  std::thread canceller([&] { call->Cancel(); });
  EXPECT_TRUE(absl::IsCancelled(call->Wait().status()));
  canceller.join();
}

TEST_F(GrpcCoordinatorLinkTest, ASynchronizeHasADeadline) {
  const auto call = link_->Synchronize({}, absl::Milliseconds(50));
  EXPECT_TRUE(absl::IsDeadlineExceeded(call->Wait().status()));
}

TEST_F(GrpcCoordinatorLinkTest, CancelEndsAHeldJoin) {
  worker::v1::JoinGangRequest request;
  request.set_fence(1);
  const auto call = link_->JoinGang(request, absl::Minutes(5));
  service_.joining.WaitForNotification();
  std::thread canceller([&] { call->Cancel(); });
  EXPECT_TRUE(absl::IsCancelled(call->Wait().status()));
  canceller.join();
}

TEST_F(GrpcCoordinatorLinkTest, AJoinBringsTheMembers) {
  worker::v1::JoinGangRequest request;
  request.set_fence(2);
  request.mutable_member()->set_endpoint("127.0.0.1:1");
  const auto response = link_->JoinGang(request, absl::Minutes(5))->Wait();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->complete());
  EXPECT_EQ(response->members(0).endpoint(), "127.0.0.1:1");
}

TEST_F(GrpcCoordinatorLinkTest, ReasonsArrive) {
  worker::v1::CommitResultRequest request;
  request.set_fence(2);
  EXPECT_TRUE(link_->CommitResult(request).ok());
  request.set_fence(1);
  const absl::Status status = link_->CommitResult(request);
  EXPECT_TRUE(absl::IsAborted(status));
  EXPECT_EQ(ReasonOf(status), "STALE_FENCE");
}

}  // namespace
}  // namespace dasm
