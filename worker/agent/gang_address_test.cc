#include "worker/agent/gang_address.h"

#include "common/base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::HasSubstr;

TEST(GangAddress, LoopbackNeedsNothingElse) {
  for (const char* host : {"127.0.0.1", "localhost"}) {
    const auto address = GangListenAddress(host, /*insecure=*/false);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(*address, std::string(host) + ":0");
  }
  EXPECT_EQ(*GangListenAddress("::1", false), "[::1]:0");
  EXPECT_EQ(*GangListenAddress("[::1]", false), "[::1]:0");
}

TEST(GangAddress, WhatOthersCanReachNeedsInsecure) {
  const auto refused = GangListenAddress("10.1.2.3", /*insecure=*/false);
  EXPECT_EQ(FieldOf(refused.status()), "gang-address");
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--insecure"));
  EXPECT_EQ(*GangListenAddress("10.1.2.3", /*insecure=*/true), "10.1.2.3:0");
  EXPECT_EQ(*GangListenAddress("fd00::2", /*insecure=*/true), "[fd00::2]:0");
}

TEST(GangAddress, RefusesWhatIsNoHost) {
  for (const char* host :
       {"", "127.0.0.1:7000", "unix:/tmp/s", "0.0.0.0", "::", "[::]"}) {
    const auto refused = GangListenAddress(host, /*insecure=*/true);
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << host;
    EXPECT_EQ(FieldOf(refused.status()), "gang-address") << host;
  }
}

}  // namespace
}  // namespace dasm
