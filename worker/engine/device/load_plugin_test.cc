#include "worker/engine/device/load_plugin.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include "common/base/temporary_directory.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// DASM_STUB_FOLDER holds what stub_plugin.cc became.
std::string Stub(const std::string& name) {
  return std::string(DASM_STUB_FOLDER) + "/libdasm_stub_" + name + ".so";
}

std::string MessageOf(const std::string& path) {
  const auto plugin = LoadPlugin(path);
  EXPECT_EQ(plugin.status().code(), absl::StatusCode::kFailedPrecondition)
      << plugin.status();
  return std::string(plugin.status().message());
}

TEST(LoadPlugin, OpensOneOfThisBuildThatNeedsNothingOfTheHost) {
  const auto plugin = LoadPlugin(Stub("good"));
  ASSERT_TRUE(plugin.ok()) << plugin.status();
  const auto devices = (*plugin)->Devices();
  ASSERT_TRUE(devices.ok());
  EXPECT_TRUE(devices->empty());
  // A status made behind the border is read on this side.
  EXPECT_THAT(std::string((*plugin)->NewGangId().status().message()),
              HasSubstr("no device"));
}

TEST(LoadPlugin, AFileThatIsNotThereSaysHowToGetOne) {
  const auto plugin = LoadPlugin("/nowhere/libdasm_cuda.so");
  EXPECT_EQ(plugin.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(
      std::string(plugin.status().message()),
      AllOf(HasSubstr("/nowhere/libdasm_cuda.so"), HasSubstr("DASM_WITH_CUDA"),
            HasSubstr("DASM_CUDA_PLUGIN")));
}

TEST(LoadPlugin, AnotherAbiOrBuildIsRefusedByTheLibraryItself) {
  setenv("DASM_STUB_ABI", "9999", 1);
  EXPECT_THAT(MessageOf(Stub("good")),
              AllOf(HasSubstr("libdasm_stub_good.so"), HasSubstr("ABI 9999")));
  unsetenv("DASM_STUB_ABI");
  setenv("DASM_STUB_BUILD", "0.0.1/torch-1.0", 1);
  EXPECT_THAT(MessageOf(Stub("good")),
              AllOf(HasSubstr("torch-1.0"), HasSubstr(kDevicePluginBuild)));
  unsetenv("DASM_STUB_BUILD");
}

TEST(LoadPlugin, ALibraryWithoutTheFactoryIsNotAPlugin) {
  EXPECT_THAT(MessageOf(Stub("no_symbol")), HasSubstr(kDevicePluginSymbol));
}

TEST(LoadPlugin, AMissingDependencyIsNamedWithTheRemedy) {
  EXPECT_THAT(MessageOf(Stub("needs_missing")),
              AllOf(HasSubstr("libdasm_missing_nccl.so.2"),
                    HasSubstr("install the CUDA dependencies")));
}

TEST(LoadPlugin, AFileThatIsNoLibraryIsRefused) {
  const auto folder = TemporaryDirectory::Create();
  ASSERT_TRUE(folder.ok());
  const std::string path = (*folder)->path() + "/libdasm_cuda.so";
  std::ofstream(path) << "not ELF";
  EXPECT_THAT(MessageOf(path), HasSubstr(path));
}

TEST(LoadPlugin, TheVariableNamesThePlugin) {
  setenv("DASM_CUDA_PLUGIN", "/opt/dasm/lib/libdasm_cuda.so", 1);
  EXPECT_EQ(DefaultPluginPath(), "/opt/dasm/lib/libdasm_cuda.so");
  unsetenv("DASM_CUDA_PLUGIN");
  EXPECT_THAT(DefaultPluginPath(), HasSubstr("libdasm_cuda.so"));
}

#ifdef DASM_CUDA_PLUGIN_FILE
// The real one: on a machine without its libraries the error names the first
// that is missing, with them it answers.
TEST(LoadPlugin, TheRealPluginAnswersOrNamesWhatIsMissing) {
  const auto plugin = LoadPlugin(DASM_CUDA_PLUGIN_FILE);
  if (!plugin.ok()) {
    EXPECT_THAT(std::string(plugin.status().message()),
                AllOf(HasSubstr("cannot open shared object file"),
                      HasSubstr("install the CUDA dependencies")));
    return;
  }
  const auto devices = (*plugin)->Devices();
  if (devices.ok()) {
    for (const DeviceInfo& device : *devices) {
      EXPECT_FALSE(device.name.empty());
      EXPECT_GT(device.memory_bytes, 0);
    }
    EXPECT_FALSE(devices->empty());
  } else {
    EXPECT_EQ(devices.status().code(), absl::StatusCode::kFailedPrecondition)
        << devices.status();
    EXPECT_THAT(std::string(devices.status().message()), HasSubstr("CUDA"));
  }
}
#endif

}  // namespace
}  // namespace dasm
