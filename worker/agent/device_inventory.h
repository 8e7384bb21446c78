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

struct DeviceInventory {
  int slots = 1;
  int threads = 1;  // ranks a runner has
  int64_t memory_bytes = 0;
  std::string numerics_class;
  std::string runner_version;
};

struct InventoryOptions {
  int slots = 1;
  int threads = 0;  // 0: the machine's cores shared by the slots
  std::string runner;
  std::vector<std::string> environment;
};

// Asks the runner for its numerics class (`dasm-runner --describe`).
// FAILED_PRECONDITION with the runner's last words when it does not start.
absl::StatusOr<DeviceInventory> TakeInventory(const InventoryOptions& options,
                                              RunnerLauncher* launcher);

// The machine's or the container's, whichever is less.
int64_t MemoryBytes();
// Times the kernel ended a process here for want of memory, so that a SIGKILL
// can be told from one of ours: a number that grows.
int64_t CountOomKills();

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_DEVICE_INVENTORY_H_
