#include "worker/agent/device_inventory.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace dasm {
namespace {

// Loading the tensor library from a cold disk takes its time.
constexpr absl::Duration kDescribeDeadline = absl::Seconds(120);

// The value after `key` in lines of "key value"; 0 without one.
int64_t ValueOf(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string name;
  int64_t value = 0;
  while (file >> name >> value) {
    if (name == key) return value;
  }
  return 0;
}

// "devices" of the runner's description; the class becomes theirs.
absl::Status TakeDevices(const nlohmann::json& described,
                         DeviceInventory* inventory) {
  const auto devices = described.find("devices");
  if (devices == described.end() || !devices->is_array()) {
    return absl::OkStatus();
  }
  for (const nlohmann::json& item : *devices) {
    if (!item.is_object()) continue;
    const auto text = [&item](const char* key) {
      const auto value = item.find(key);
      return value != item.end() && value->is_string()
                 ? value->get<std::string>()
                 : std::string();
    };
    Device device;
    device.name = text("device");
    device.model = text("model");
    device.uuid = text("uuid");
    const auto memory = item.find("memory_bytes");
    if (memory != item.end() && memory->is_number_integer()) {
      device.memory_bytes = memory->get<int64_t>();
    }
    const std::string numerics = text("numerics_class");
    if (device.name.empty() || numerics.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the runner described a device without its name or "
                       "numerics class: ",
                       item.dump()));
    }
    if (!inventory->devices.empty() && numerics != inventory->numerics_class) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the devices are of several numerics classes (",
          inventory->numerics_class, " and ", numerics,
          "): choose those of one with CUDA_VISIBLE_DEVICES, and start "
          "another worker for the rest"));
    }
    inventory->numerics_class = numerics;
    inventory->devices.push_back(std::move(device));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t MemoryBytes() {
  const int64_t machine =
      static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  // "max" without a limit: not a number.
  std::ifstream file("/sys/fs/cgroup/memory.max");
  int64_t limit = 0;
  if (file >> limit && limit > 0) return std::min(limit, machine);
  return machine;
}

int64_t CountOomKills() {
  return ValueOf("/proc/vmstat", "oom_kill") +
         ValueOf("/sys/fs/cgroup/memory.events", "oom_kill");
}

absl::StatusOr<DeviceInventory> TakeInventory(const InventoryOptions& options,
                                              RunnerLauncher* launcher) {
  DeviceInventory inventory;
  inventory.memory_bytes = MemoryBytes();

  std::string output;
  std::string last_words;
  RunnerExit exit;
  absl::Notification ended;
  RunnerCommand command;
  command.argv = {options.runner, "--describe"};
  command.environment = options.environment;
  RunnerLauncher::Listener listener;
  listener.on_line = [&](bool is_stderr, std::string line) {
    (is_stderr ? last_words : output) = std::move(line);
  };
  listener.on_exit = [&](RunnerExit how) {
    exit = how;
    ended.Notify();
  };
  DASM_ASSIGN_OR_RETURN(const std::unique_ptr<RunnerProcess> process,
                        launcher->Launch(command, std::move(listener)));
  if (!ended.WaitForNotificationWithTimeout(kDescribeDeadline)) {
    process->Signal(SIGKILL);
    ended.WaitForNotification();
  }
  if (exit.code != 0 || exit.signal != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(options.runner, " --describe failed (",
                     exit.signal != 0 ? absl::StrCat("signal ", exit.signal)
                                      : absl::StrCat("exit code ", exit.code),
                     "): ", last_words));
  }
  const auto described =
      nlohmann::json::parse(output, nullptr, /*allow_exceptions=*/false);
  if (!described.is_object() || !described.contains("numerics_class") ||
      !described["numerics_class"].is_string()) {
    return absl::FailedPreconditionError(absl::StrCat(
        options.runner, " --describe did not tell a numerics class: ", output));
  }
  inventory.numerics_class = described["numerics_class"].get<std::string>();
  if (described.contains("version") && described["version"].is_string()) {
    inventory.runner_version = described["version"].get<std::string>();
  }
  if (options.use_devices) {
    DASM_RETURN_IF_ERROR(TakeDevices(described, &inventory));
  }
  const int devices = static_cast<int>(inventory.devices.size());
  inventory.slots = options.slots > 0 ? options.slots : std::max(1, devices);
  if (devices > 0 && inventory.slots > devices && !options.share_devices) {
    return InvalidField(
        "slots", absl::StrCat(inventory.slots, " slots on ", devices,
                              devices == 1 ? " device" : " devices",
                              ": two tasks would share a device's memory; "
                              "allow it with --share-devices"));
  }
  const int cores =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  inventory.threads = options.threads > 0
                          ? options.threads
                          : std::max(1, cores / inventory.slots);
  // Ranks of a device are processes.
  if (devices > 0) inventory.threads = 1;
  return inventory;
}

}  // namespace dasm
