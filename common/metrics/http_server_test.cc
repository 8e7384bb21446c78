#include "common/metrics/http_server.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/synchronization/mutex.h"
#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "httplib.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

int PortOf(const HttpServer& server) {
  const std::string address = server.address();
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
  return port;
}

TEST(HttpServer, AnswersOnTheResolvedPort) {
  Metrics metrics;
  const auto server = HttpServer::Start({.address = "127.0.0.1:0"}, &metrics);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT((*server)->address(), StartsWith("127.0.0.1:"));
  EXPECT_GT(PortOf(**server), 0);
  httplib::Client client("127.0.0.1", PortOf(**server));
  const auto live = client.Get("/livez");
  ASSERT_TRUE(live);
  EXPECT_EQ(live->status, 200);
  const auto ready = client.Get("/readyz");
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->status, 200);
  const auto text = client.Get("/metrics");
  ASSERT_TRUE(text);
  EXPECT_EQ(text->status, 200);
  EXPECT_THAT(text->get_header_value("Content-Type"),
              StartsWith("text/plain; version=0.0.4"));
  EXPECT_THAT(text->body, HasSubstr("dasm_build_info"));
  const auto other = client.Get("/other");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->status, 404);
}

TEST(HttpServer, TellsWhyItIsNotReady) {
  Metrics metrics;
  absl::Mutex mutex;
  std::string why = "the store is recovering";
  const auto server = HttpServer::Start({.address = "127.0.0.1:0",
                                         .readiness =
                                             [&] {
                                               absl::MutexLock lock(&mutex);
                                               return why;
                                             }},
                                        &metrics);
  ASSERT_TRUE(server.ok()) << server.status();
  httplib::Client client("127.0.0.1", PortOf(**server));
  const auto before = client.Get("/readyz");
  ASSERT_TRUE(before);
  EXPECT_EQ(before->status, 503);
  EXPECT_EQ(before->body, "the store is recovering\n");
  // Alive all the same: a restart would not help.
  const auto live = client.Get("/livez");
  ASSERT_TRUE(live);
  EXPECT_EQ(live->status, 200);
  {
    absl::MutexLock lock(&mutex);
    why.clear();
  }
  const auto after = client.Get("/readyz");
  ASSERT_TRUE(after);
  EXPECT_EQ(after->status, 200);
}

TEST(HttpServer, PortInUseIsAClearError) {
  Metrics metrics;
  const auto first = HttpServer::Start({.address = "127.0.0.1:0"}, &metrics);
  ASSERT_TRUE(first.ok());
  const absl::Status status =
      HttpServer::Start({.address = (*first)->address()}, &metrics).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(FieldOf(status), "http");
  EXPECT_THAT(std::string(status.message()), HasSubstr((*first)->address()));
}

TEST(HttpServer, PortIsFreeAgainAtOnce) {
  Metrics metrics;
  std::string address = "127.0.0.1:0";
  for (int i = 0; i < 3; ++i) {
    const auto server = HttpServer::Start({.address = address}, &metrics);
    ASSERT_TRUE(server.ok()) << server.status();
    address = (*server)->address();
    httplib::Client client("127.0.0.1", PortOf(**server));
    EXPECT_TRUE(client.Get("/livez"));
  }
}

TEST(HttpServer, MalformedAddressNamesTheFlag) {
  Metrics metrics;
  for (const char* address :
       {"", "9090", ":9090", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"}) {
    const absl::Status status =
        HttpServer::Start({.address = address}, &metrics).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_EQ(FieldOf(status), "http");
  }
  // TEST-NET-1 is no address of this machine.
  EXPECT_EQ(
      HttpServer::Start({.address = "192.0.2.1:0"}, &metrics).status().code(),
      absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace dasm
