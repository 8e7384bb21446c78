// What this machine offers: slots, threads, memory, and the numerics class of
// its runner.
#ifndef DASM_WORKER_AGENT_DEVICE_INVENTORY_H_
#define DASM_WORKER_AGENT_DEVICE_INVENTORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/agent/runner_launcher.h"

namespace dasm {

struct Device {
  std::string name;   // "cuda:0": how a runner is told to use it
  std::string model;  // "NVIDIA H100 80GB HBM3"
  std::string uuid;   // tells two ranks on one device
  int64_t memory_bytes = 0;
};

struct DeviceInventory {
  int slots = 1;
  int threads = 1;  // ranks a runner has
  int64_t memory_bytes = 0;
  std::string numerics_class;
  std::string runner_version;
  // All of `numerics_class`; empty: the CPU computes.
  std::vector<Device> devices;
};

struct InventoryOptions {
  int slots = 0;    // 0: one a device, or one
  int threads = 0;  // 0: the machine's cores shared by the slots
  std::string runner;
  std::vector<std::string> environment;
  bool use_devices = true;
  // Allow more slots than devices.
  bool share_devices = false;
};

// Asks the runner what it can compute on (`dasm-runner --describe`).
//   FAILED_PRECONDITION  the runner does not start (with its last words), or
//                        its devices are of several numerics classes
//   INVALID_ARGUMENT     (field "slots") more slots than devices, which are not
//                        to be shared
absl::StatusOr<DeviceInventory> TakeInventory(const InventoryOptions& options,
                                              RunnerLauncher* launcher);

// The machine's or the container's, whichever is less.
int64_t MemoryBytes();
// Times the kernel ended a process here for want of memory, so that a SIGKILL
// can be told from one of ours: a number that grows.
int64_t CountOomKills();

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_DEVICE_INVENTORY_H_
