#include "worker/agent/runner_server.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "dasm/worker/v1/runner_service.grpc.pb.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using worker::v1::AgentMessage;
using worker::v1::RunnerMessage;
using worker::v1::RunnerService;

class RunnerServerTest : public ::testing::Test {
 protected:
  RunnerServerTest() {
    std::string folder = absl::StrCat(::testing::TempDir(), "/server-XXXXXX");
    directory_ = mkdtemp(folder.data());
    server_ = *RunnerServer::Start(record());
    stub_ = RunnerService::NewStub(grpc::CreateChannel(
        server_->address(), grpc::InsecureChannelCredentials()));
  }
  ~RunnerServerTest() override { std::filesystem::remove_all(directory_); }

  std::string record() const { return directory_ + "/socket_folder"; }
  std::string SocketFolder() const {
    return std::filesystem::path(server_->address().substr(5)).parent_path();
  }
  RunnerMessage Hello(const std::string& token) {
    RunnerMessage message;
    message.mutable_hello()->set_token(token);
    return message;
  }
  RunnerMessage Said(const std::string& text) {
    RunnerMessage message;
    message.mutable_line()->set_text(text);
    return message;
  }
  bool AwaitHeard(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto reached = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return heard_.size() >= count;
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&reached), absl::Minutes(2));
  }
  void Open(const std::string& token) {
    server_->Open(token, [this](const RunnerMessage& message) {
      absl::MutexLock lock(&mutex_);
      heard_.push_back(message.line().text());
    });
  }

  std::string directory_;
  std::unique_ptr<RunnerServer> server_;
  std::unique_ptr<RunnerService::Stub> stub_;
  absl::Mutex mutex_;
  std::vector<std::string> heard_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(RunnerServerTest, ConnectsARunnerWithItsAttempt) {
  Open("secret");
  AgentMessage stop;
  stop.set_stop(true);
  server_->Send("secret", stop);  // before it attached
  grpc::ClientContext context;
  auto stream = stub_->Attach(&context);
  ASSERT_TRUE(stream->Write(Hello("secret")));
  ASSERT_TRUE(stream->Write(Said("hello")));
  ASSERT_TRUE(AwaitHeard(2));
  EXPECT_EQ(heard_[1], "hello");
  AgentMessage received;
  ASSERT_TRUE(stream->Read(&received));
  EXPECT_TRUE(received.stop());
  AgentMessage acknowledged;
  acknowledged.set_acknowledged(true);
  server_->Send("secret", acknowledged);
  ASSERT_TRUE(stream->Read(&received));
  EXPECT_TRUE(received.acknowledged());
  server_->Close("secret");
  EXPECT_FALSE(stream->Read(&received));
  EXPECT_FALSE(stream->Finish().ok());
}

TEST_F(RunnerServerTest, RefusesAnotherToken) {
  Open("secret");
  grpc::ClientContext context;
  auto stream = stub_->Attach(&context);
  stream->Write(Hello("guess"));
  AgentMessage received;
  EXPECT_FALSE(stream->Read(&received));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  absl::MutexLock lock(&mutex_);
  EXPECT_TRUE(heard_.empty());
}

TEST_F(RunnerServerTest, RefusesASecondRunnerOfAnAttempt) {
  Open("secret");
  grpc::ClientContext first_context;
  auto first = stub_->Attach(&first_context);
  ASSERT_TRUE(first->Write(Hello("secret")));
  ASSERT_TRUE(AwaitHeard(1));
  grpc::ClientContext context;
  auto second = stub_->Attach(&context);
  second->Write(Hello("secret"));
  AgentMessage received;
  EXPECT_FALSE(second->Read(&received));
  EXPECT_EQ(second->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  first_context.TryCancel();
  EXPECT_FALSE(first->Finish().ok());
}

TEST_F(RunnerServerTest, TheSocketIsPrivateShortAndGoneAtTheEnd) {
  const std::string folder = SocketFolder();
  struct stat status;
  ASSERT_EQ(stat(folder.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700);
  EXPECT_LT(server_->address().size(), 100);
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(folder));
  EXPECT_FALSE(std::filesystem::exists(record()));
}

TEST_F(RunnerServerTest, RemovesTheFolderThatAKilledAgentLeft) {
  const std::string left =
      (std::filesystem::temp_directory_path() / "dasm-worker-XXXXXX").string();
  std::string folder = left;
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  std::ofstream(folder + "/agent.sock");
  const std::string other = directory_ + "/other";
  std::ofstream(other) << folder << "\n";
  const auto server = RunnerServer::Start(other);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_FALSE(std::filesystem::exists(folder));
}

}  // namespace
}  // namespace dasm
