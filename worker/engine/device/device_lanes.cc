#include "worker/engine/device/device_lanes.h"

#include "common/base/status_macros.h"
#include "worker/engine/device/load_plugin.h"

namespace dasm {
namespace {

class InTurn final : public DeviceLanes {
 public:
  explicit InTurn(int lanes) : lanes_(lanes) {}
  absl::Status ForEach(Work work) override {
    for (int lane = 0; lane < lanes_; ++lane) {
      DASM_RETURN_IF_ERROR(work(lane));
    }
    return absl::OkStatus();
  }

 private:
  const int lanes_;
};

}  // namespace

std::unique_ptr<DeviceLanes> MakeLanesInTurn(int lanes) {
  return std::make_unique<InTurn>(lanes);
}

std::unique_ptr<DeviceLanes> MakeDeviceLanes(at::Device device, int lanes) {
  DevicePlugin* const plugin = InstalledPlugin();
  if (device.is_cpu() || plugin == nullptr || lanes == 1) {
    return MakeLanesInTurn(lanes);
  }
  return plugin->MakeLanes(device.has_index() ? device.index() : 0, lanes);
}

}  // namespace dasm
