// What this runner can compute on. The CPU needs nothing; for a device its
// plug-in is opened.
#ifndef DASM_WORKER_RUNNER_DEVICE_H_
#define DASM_WORKER_RUNNER_DEVICE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "worker/engine/device/device_plugin.h"
#include "worker/runner/gang.h"
#include "worker/runner/runner.h"

namespace dasm {

// Makes `device` ("cpu", "cuda:1"; empty: "cpu") ready for tasks and returns
// its numerics class. Failure class DEVICE_FAULT where the plug-in cannot be
// opened or the device cannot be used; INVALID_ARGUMENT for another name.
absl::StatusOr<std::string> OpenDevice(const std::string& device);

// Of the plug-in that OpenDevice opened; without one empty.
DeviceGang GangOfDevices();

// Of the device that OpenDevice opened, and what `at_failure` (borrowed; may be
// null) holds of it; null for the CPU.
std::function<DevicePeaks()> PeaksOfDevice(const std::string& device,
                                           const DeviceMemory* at_failure);

// {"numerics_class" of the CPU, "version", "devices": [{"device", "model",
// "uuid", "memory_bytes", "numerics_class"}], "device_status": why there are
// none}. Opens the plug-in where there is one.
nlohmann::json Describe();

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_DEVICE_H_
