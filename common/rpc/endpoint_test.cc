#include "common/rpc/endpoint.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/base/error.h"
#include "common/base/temporary_directory.h"
#include "common/rpc/grpc_status.h"
#include "dasm/v1/artifact.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

TEST(ListenAddress, LoopbackAndUnixSocketsAreFine) {
  for (const char* address :
       {"127.0.0.1:0", "127.0.0.1:65535", "127.255.1.2:80", "localhost:7070",
        "[::1]:7070", "unix:/run/dasm.sock", "unix:relative"}) {
    EXPECT_TRUE(CheckListenAddress("listen", address, false).ok()) << address;
  }
}

TEST(ListenAddress, OthersNeedTheFlag) {
  for (const char* address :
       {"0.0.0.0:7070", "[::]:7070", "192.168.1.2:7070", "128.0.0.1:7070",
        "lab-7:7070", "[::ffff:127.0.0.1]:7070", "127.0.0.1.example.com:1"}) {
    const absl::Status status = CheckListenAddress("listen", address, false);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_EQ(FieldOf(status), "listen");
    EXPECT_THAT(std::string(status.message()), HasSubstr("--insecure"));
    EXPECT_THAT(std::string(status.message()), HasSubstr(address));
    EXPECT_TRUE(CheckListenAddress("listen", address, true).ok()) << address;
  }
}

TEST(ListenAddress, MalformedOnesAreRefusedEvenWithTheFlag) {
  for (const char* address : {"", "7070", ":7070", "127.0.0.1", "127.0.0.1:",
                              "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536",
                              "::1", "::1:7070", "[::1]", "[]:7070", "unix:"}) {
    for (bool insecure : {false, true}) {
      EXPECT_EQ(FieldOf(CheckListenAddress("http", address, insecure)), "http")
          << address;
    }
  }
}

TEST(ListenAddress, UnixPathFitsTheKernel) {
  const std::string longest(107, 'x');
  EXPECT_TRUE(CheckListenAddress("listen", "unix:" + longest, false).ok());
  const absl::Status status =
      CheckListenAddress("listen", "unix:" + longest + "x", false);
  EXPECT_EQ(FieldOf(status), "listen");
  EXPECT_THAT(std::string(status.message()), HasSubstr("108 bytes"));
}

// Answers FindMissingBlobs as it is told, by the number of the call.
class CountingService final : public v1::ArtifactService::Service {
 public:
  explicit CountingService(std::function<absl::Status(int)> answer)
      : answer_(std::move(answer)) {}

  grpc::Status FindMissingBlobs(grpc::ServerContext*,
                                const v1::FindMissingBlobsRequest*,
                                v1::FindMissingBlobsResponse*) override {
    absl::MutexLock lock(&mutex_);
    return ToGrpcStatus(answer_(++calls_));
  }
  int calls() {
    absl::MutexLock lock(&mutex_);
    return calls_;
  }

 private:
  const std::function<absl::Status(int)> answer_;
  absl::Mutex mutex_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

struct Server {
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

Server Serve(grpc::Service* service, const std::string& address) {
  Server result;
  grpc::ServerBuilder builder;
  ConfigureServer(&builder);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(),
                           &result.port);
  builder.RegisterService(service);
  result.server = builder.BuildAndStart();
  return result;
}

absl::Status Call(const std::shared_ptr<grpc::Channel>& channel,
                  bool wait_for_ready = false) {
  const auto stub = v1::ArtifactService::NewStub(channel);
  grpc::ClientContext context;
  context.set_wait_for_ready(wait_for_ready);
  // Ends a test that hangs.
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::minutes(2));
  v1::FindMissingBlobsResponse response;
  return FromGrpcStatus(stub->FindMissingBlobs(&context, {}, &response));
}

TEST(Connect, ReachesPortsAndUnixSockets) {
  const auto directory = *TemporaryDirectory::Create();
  CountingService service([](int) { return absl::OkStatus(); });
  const Server tcp = Serve(&service, "127.0.0.1:0");
  ASSERT_NE(tcp.server, nullptr);
  const std::string path = absl::StrCat("unix:", directory->path(), "/s");
  const Server local = Serve(&service, path);
  ASSERT_NE(local.server, nullptr);
  EXPECT_TRUE(Call(Connect(absl::StrCat("127.0.0.1:", tcp.port))).ok());
  EXPECT_TRUE(Call(Connect(path)).ok());
  EXPECT_EQ(service.calls(), 2);
}

TEST(Connect, SecondServerOnAPortFails) {
  CountingService service([](int) { return absl::OkStatus(); });
  const Server first = Serve(&service, "127.0.0.1:0");
  ASSERT_NE(first.server, nullptr);
  const Server second = Serve(&service, absl::StrCat("127.0.0.1:", first.port));
  EXPECT_EQ(second.server, nullptr);
}

TEST(Connect, RetriesOnlyWhatIsUnavailable) {
  const auto directory = *TemporaryDirectory::Create();
  const std::string path = absl::StrCat("unix:", directory->path(), "/s");
  {
    CountingService service([](int call) {
      return call < 3 ? absl::UnavailableError("busy") : absl::OkStatus();
    });
    const Server server = Serve(&service, path);
    EXPECT_TRUE(Call(Connect(path)).ok());
    EXPECT_EQ(service.calls(), 3);
  }
  {
    CountingService service([](int) { return absl::UnavailableError("busy"); });
    const Server server = Serve(&service, path);
    EXPECT_EQ(Call(Connect(path)).code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(service.calls(), 4);
  }
  for (const auto code :
       {absl::StatusCode::kInternal, absl::StatusCode::kResourceExhausted,
        absl::StatusCode::kAborted}) {
    CountingService service([code](int) { return absl::Status(code, "no"); });
    const Server server = Serve(&service, path);
    EXPECT_EQ(Call(Connect(path)).code(), code);
    EXPECT_EQ(service.calls(), 1);
  }
}

TEST(Connect, FindsAServerThatIsBack) {
  const auto directory = *TemporaryDirectory::Create();
  const std::string path = absl::StrCat("unix:", directory->path(), "/s");
  CountingService service([](int) { return absl::OkStatus(); });
  const auto channel = Connect(path);
  {
    const Server server = Serve(&service, path);
    EXPECT_TRUE(Call(channel).ok());
    server.server->Shutdown();
  }
  const Server again = Serve(&service, path);
  ASSERT_NE(again.server, nullptr);
  EXPECT_TRUE(Call(channel, /*wait_for_ready=*/true).ok());
}

}  // namespace
}  // namespace dasm
