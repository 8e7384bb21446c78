// What an accelerator's plug-in library gives to the runner. The library has
// one function, found by name:
//
//   extern "C" dasm::DevicePlugin* dasm_device_plugin(
//       int abi, const char* build, char* error, size_t error_size);
//
// It returns null and says why in `error` when it is of another ABI or build
// than the caller, or when it cannot work at all. It needs no symbol of the
// runner; torch's libraries are shared by both. Objects of Abseil and the
// standard library cross the border: both sides are of one build.
//
// Threads: thread-safe where not said otherwise.
#ifndef DASM_WORKER_ENGINE_DEVICE_DEVICE_PLUGIN_H_
#define DASM_WORKER_ENGINE_DEVICE_DEVICE_PLUGIN_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/collective/collective.h"
#include "worker/engine/device/device_lanes.h"
#include "worker/engine/device/step_graph.h"

namespace dasm {

// Raised with every change of this header or of what it includes of ours.
inline constexpr int kDevicePluginAbi = 4;
inline constexpr char kDevicePluginSymbol[] = "dasm_device_plugin";
// Release and torch: objects that cross the border are laid out by both.
inline constexpr char kDevicePluginBuild[] =
    DASM_VERSION "/torch-" DASM_TORCH_VERSION;

struct DeviceInfo {
  int index = 0;
  std::string name;          // "NVIDIA H100 80GB HBM3"
  std::string architecture;  // "sm90"
  int64_t memory_bytes = 0;
  int multiprocessors = 0;
  // The same device has the same one in every process and container of the
  // machine.
  std::string uuid;
};

struct DeviceMemory {
  int64_t allocated_bytes = 0;
  int64_t peak_allocated_bytes = 0;
  int64_t peak_reserved_bytes = 0;
  int64_t total_bytes = 0;
};

struct DeviceGangOptions {
  int device = 0;
  int rank = 0;
  int ranks = 1;
  std::string id;  // DevicePlugin::NewGangId() of rank 0
  Collective::Memory memory = Collective::Memory::kHost;
  bool ordered = true;
  absl::Duration join_deadline = absl::Seconds(60);
  absl::Duration least_deadline = absl::Seconds(60);
  absl::Duration abort_deadline = absl::Seconds(10);
  // Called when the library does not give a broken gang back: must end the
  // process.
  std::function<void(const absl::Status&)> on_stuck;
};

class DevicePlugin {
 public:
  // Empty with a status that says why (no driver, none visible).
  virtual absl::StatusOr<std::vector<DeviceInfo>> Devices() = 0;

  // Once per process, before any tensor of the device. INVALID_ARGUMENT where
  // there is no such device, FAILED_PRECONDITION where it is too old.
  virtual absl::Status Initialize(int device) = 0;

  // One process a rank. Of one rank without an id: no NCCL.
  virtual absl::StatusOr<std::string> NewGangId() = 0;
  virtual absl::StatusOr<std::unique_ptr<Collective>> JoinGang(
      const DeviceGangOptions& options) = 0;

  virtual std::unique_ptr<StepGraph> MakeStepGraph(int device) = 0;
  virtual std::unique_ptr<DeviceLanes> MakeLanes(int device, int lanes) = 0;

  virtual DeviceMemory Memory(int device) = 0;
  // Gives cached memory back to the device and forgets the peaks.
  virtual void ReleaseMemory(int device) = 0;
  // Waits for everything queued on the device; its error, if it has one.
  virtual absl::Status Synchronize(int device) = 0;

 protected:
  // Lives as long as the process.
  ~DevicePlugin() = default;
};

using DevicePluginFactory = DevicePlugin* (*)(int abi, const char* build,
                                              char* error, size_t error_size);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_DEVICE_PLUGIN_H_
