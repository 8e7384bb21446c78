// A plug-in without devices, for the tests of load_plugin.h. The environment
// may make it one of another ABI or build.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "worker/engine/device/device_plugin.h"

namespace {

class Stub final : public dasm::DevicePlugin {
 public:
  absl::StatusOr<std::vector<dasm::DeviceInfo>> Devices() override {
    return std::vector<dasm::DeviceInfo>();
  }
  absl::Status Initialize(int) override { return None(); }
  absl::StatusOr<std::string> NewGangId() override { return None(); }
  absl::StatusOr<std::unique_ptr<dasm::Collective>> JoinGang(
      const dasm::DeviceGangOptions&) override {
    return None();
  }
  std::unique_ptr<dasm::StepGraph> MakeStepGraph(int) override {
    return nullptr;
  }
  std::unique_ptr<dasm::DeviceLanes> MakeLanes(int, int) override {
    return nullptr;
  }
  dasm::DeviceMemory Memory(int) override { return {}; }
  void ReleaseMemory(int) override {}
  absl::Status Synchronize(int) override { return None(); }

 private:
  static absl::Status None() {
    return absl::FailedPreconditionError("the stub has no device");
  }
};

}  // namespace

extern "C" dasm::DevicePlugin* dasm_device_plugin(int abi, const char* build,
                                                  char* error, size_t size) {
  const char* other_abi = std::getenv("DASM_STUB_ABI");
  const char* other_build = std::getenv("DASM_STUB_BUILD");
  const int own_abi =
      other_abi == nullptr ? dasm::kDevicePluginAbi : std::atoi(other_abi);
  const char* own_build =
      other_build == nullptr ? dasm::kDevicePluginBuild : other_build;
  if (abi != own_abi || std::strcmp(build, own_build) != 0) {
    std::snprintf(error, size,
                  "it is of ABI %d, build %s; the runner of %d, %s", own_abi,
                  own_build, abi, build);
    return nullptr;
  }
  static Stub stub;
  return &stub;
}
