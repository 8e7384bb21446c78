// What this runner can compute on. The CPU needs nothing; for a device its
// plug-in is opened.
#ifndef DASM_WORKER_RUNNER_DEVICE_H_
#define DASM_WORKER_RUNNER_DEVICE_H_

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "worker/runner/gang.h"

namespace dasm {

// Makes `device` ("cpu", "cuda:1"; empty: "cpu") ready for tasks and returns
// its numerics class. Failure class DEVICE_FAULT where the plug-in cannot be
// opened or the device cannot be used; INVALID_ARGUMENT for another name.
absl::StatusOr<std::string> OpenDevice(const std::string& device);

// Of the plug-in that OpenDevice opened; without one empty.
DeviceGang GangOfDevices();

// {"numerics_class" of the CPU, "version", "devices": [{"device", "model",
// "uuid", "memory_bytes", "numerics_class"}], "device_status": why there are
// none}. Opens the plug-in where there is one.
nlohmann::json Describe();

}  // namespace dasm

#endif  // DASM_WORKER_RUNNER_DEVICE_H_
