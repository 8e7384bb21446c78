// The real library, on any machine: with devices, without them, and without the
// CUDA libraries that torch's wheel only has on a machine for devices (then the
// build's empty stand-ins let it open).
#include <dlfcn.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/cuda/nccl_library.h"
#include "worker/engine/device/load_plugin.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

TEST(CudaPlugin, OpensAndTellsItsDevicesOrWhyThereAreNone) {
  const auto plugin = LoadPlugin(DASM_CUDA_PLUGIN_FILE);
  ASSERT_TRUE(plugin.ok()) << plugin.status();
  const auto devices = (*plugin)->Devices();
  if (devices.ok()) {
    ASSERT_FALSE(devices->empty());
    for (const DeviceInfo& device : *devices) {
      EXPECT_FALSE(device.name.empty());
      EXPECT_THAT(device.architecture, HasSubstr("sm"));
      EXPECT_EQ(device.uuid.size(), 32u);
      EXPECT_GT(device.memory_bytes, 0);
    }
    EXPECT_EQ((*plugin)->Initialize(999).code(),
              absl::StatusCode::kInvalidArgument);
  } else {
    EXPECT_EQ(devices.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(devices.status().message()),
                HasSubstr("CUDA sees no device"));
    EXPECT_EQ((*plugin)->Initialize(0), devices.status());
  }
}

TEST(CudaPlugin, RefusesACallerOfAnotherAbi) {
  // By its own door, as a runner of another release would.
  const auto plugin = LoadPlugin(DASM_CUDA_PLUGIN_FILE);
  ASSERT_TRUE(plugin.ok()) << plugin.status();
  void* const library = dlopen(DASM_CUDA_PLUGIN_FILE, RTLD_LAZY | RTLD_LOCAL);
  ASSERT_NE(library, nullptr);
  const auto factory = reinterpret_cast<DevicePluginFactory>(
      dlsym(library, kDevicePluginSymbol));
  ASSERT_NE(factory, nullptr);
  char why[256] = "";
  EXPECT_EQ(factory(kDevicePluginAbi + 1, kDevicePluginBuild, why, sizeof(why)),
            nullptr);
  EXPECT_THAT(std::string(why), HasSubstr("install both from one release"));
  EXPECT_EQ(factory(kDevicePluginAbi, "other", why, sizeof(why)), nullptr);
}

TEST(CudaPlugin, AGangWithoutADeviceFailsWithWhatNcclSays) {
  const auto plugin = LoadPlugin(DASM_CUDA_PLUGIN_FILE);
  ASSERT_TRUE(plugin.ok()) << plugin.status();
  const auto id = (*plugin)->NewGangId();
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_EQ(id->size(), 128u);
  const auto devices = (*plugin)->Devices();
  if (devices.ok()) return;  // tests/gpu joins real gangs
  DeviceGangOptions options;
  options.id = *id;
  const auto gang = (*plugin)->JoinGang(options);
  ASSERT_FALSE(gang.ok());
  EXPECT_THAT(std::string(gang.status().message()),
              AllOf(HasSubstr("rank 0 of 1"),
                    AnyOf(HasSubstr("CUDA"), HasSubstr("cuda"))));
}

TEST(OpenNccl, AMissingLibraryIsNamedWithTheRemedy) {
  const auto nccl = OpenNccl(0, "libnccl_of_nobody.so.2");
  EXPECT_EQ(nccl.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(nccl.status().message()),
              AllOf(HasSubstr("libnccl_of_nobody.so.2"),
                    HasSubstr("install the NCCL that torch")));
}

TEST(OpenNccl, AnotherVersionOrALibraryWithoutAFunctionIsRefused) {
  const std::string folder = DASM_STUB_FOLDER;
  EXPECT_THAT(
      std::string(
          OpenNccl(0, folder + "/libdasm_stub_old_nccl.so").status().message()),
      HasSubstr("is NCCL 21805, this was built with"));
  EXPECT_THAT(std::string(OpenNccl(0, folder + "/libdasm_stub_half_nccl.so")
                              .status()
                              .message()),
              HasSubstr("has no ncclCommAbort"));
}

TEST(OpenNccl, TheRealOneMakesIds) {
  const auto nccl = OpenNccl(0, DASM_NCCL_FILE);
  ASSERT_TRUE(nccl.ok()) << nccl.status();
  const auto id = (*nccl)->NewId();
  ASSERT_TRUE(id.ok()) << id.status();
  EXPECT_NE(*id, *(*nccl)->NewId());
}

}  // namespace
}  // namespace dasm
