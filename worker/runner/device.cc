#include "worker/runner/device.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/device/load_plugin.h"
#include "worker/engine/task/task.h"

namespace dasm {
namespace {

constexpr char kCuda[] = "cuda:";

// INVALID_ARGUMENT for anything but "cuda:N".
absl::StatusOr<int> CudaIndex(const std::string& device) {
  int index = -1;
  if (!absl::StartsWith(device, kCuda) ||
      !absl::SimpleAtoi(device.substr(sizeof(kCuda) - 1), &index) ||
      index < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("device \"", device, "\" is neither cpu nor cuda:N"));
  }
  return index;
}

absl::StatusOr<std::string> OpenCuda(int index) {
  DASM_ASSIGN_OR_RETURN(DevicePlugin* const plugin,
                        LoadPlugin(DefaultPluginPath()));
  DASM_ASSIGN_OR_RETURN(const std::vector<DeviceInfo> devices,
                        plugin->Devices());
  DASM_RETURN_IF_ERROR(plugin->Initialize(index));
  InstallPlugin(plugin);
  return DeviceNumericsClass(devices[index].architecture);
}

}  // namespace

absl::StatusOr<std::string> OpenDevice(const std::string& device) {
  if (device.empty() || device == "cpu") return NumericsClass();
  DASM_ASSIGN_OR_RETURN(const int index, CudaIndex(device));
  absl::StatusOr<std::string> opened = OpenCuda(index);
  if (!opened.ok()) {
    return WithFailureClass(WithContext(opened.status(), device),
                            FailureClass::kDeviceFault);
  }
  return opened;
}

DeviceGang GangOfDevices() {
  DevicePlugin* const plugin = InstalledPlugin();
  if (plugin == nullptr) return {};
  DeviceGang gang;
  gang.new_id = [plugin] { return plugin->NewGangId(); };
  gang.join = [plugin](const DeviceGang::Request& request)
      -> absl::StatusOr<std::unique_ptr<Collective>> {
    DeviceGangOptions options;
    DASM_ASSIGN_OR_RETURN(options.device, CudaIndex(request.device));
    options.rank = request.rank;
    options.ranks = request.ranks;
    options.id = request.id;
    options.memory = Collective::Memory::kDevice;
    options.ordered = request.ordered;
    options.join_deadline = request.deadline;
    options.least_deadline = request.deadline;
    options.on_stuck = request.on_stuck;
    return plugin->JoinGang(options);
  };
  return gang;
}

std::function<DevicePeaks()> PeaksOfDevice(const std::string& device,
                                           const DeviceMemory* at_failure) {
  DevicePlugin* const plugin = InstalledPlugin();
  const absl::StatusOr<int> index = CudaIndex(device);
  if (plugin == nullptr || !index.ok()) return nullptr;
  return [plugin, index = *index, at_failure] {
    const DeviceMemory now = plugin->Memory(index);
    DevicePeaks peaks = {now.peak_allocated_bytes, now.peak_reserved_bytes};
    if (at_failure != nullptr) {
      peaks.allocated_bytes =
          std::max(peaks.allocated_bytes, at_failure->peak_allocated_bytes);
      peaks.reserved_bytes =
          std::max(peaks.reserved_bytes, at_failure->peak_reserved_bytes);
    }
    return peaks;
  };
}

nlohmann::json Describe() {
  nlohmann::json devices = nlohmann::json::array();
  std::string why;
  const auto look = [&]() -> absl::Status {
    DASM_ASSIGN_OR_RETURN(DevicePlugin* const plugin,
                          LoadPlugin(DefaultPluginPath()));
    DASM_ASSIGN_OR_RETURN(const std::vector<DeviceInfo> found,
                          plugin->Devices());
    for (const DeviceInfo& device : found) {
      devices.push_back(
          {{"device", absl::StrCat(kCuda, device.index)},
           {"model", device.name},
           {"uuid", device.uuid},
           {"memory_bytes", device.memory_bytes},
           {"numerics_class", DeviceNumericsClass(device.architecture)}});
    }
    return absl::OkStatus();
  };
  const absl::Status status = look();
  nlohmann::json description = {{"numerics_class", NumericsClass()},
                                {"version", DASM_VERSION},
                                {"devices", devices}};
  if (!status.ok()) {
    description["device_status"] = std::string(status.message());
  }
  return description;
}

}  // namespace dasm
