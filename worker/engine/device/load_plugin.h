// Opens the plug-in of an accelerator, once per process.
#ifndef DASM_WORKER_ENGINE_DEVICE_LOAD_PLUGIN_H_
#define DASM_WORKER_ENGINE_DEVICE_LOAD_PLUGIN_H_

#include <string>

#include "absl/status/statusor.h"
#include "worker/engine/device/device_plugin.h"

namespace dasm {

// $DASM_CUDA_PLUGIN, else libdasm_cuda.so beside this executable's folder
// (../lib), else in that folder.
std::string DefaultPluginPath();

// The library stays loaded. Errors name the library and the remedy:
//   NOT_FOUND            there is no such file: built without CUDA
//   FAILED_PRECONDITION  it cannot be loaded (a library that it needs is
//                        missing or of another version), it is not a plug-in,
//                        or it is of another ABI or build
absl::StatusOr<DevicePlugin*> LoadPlugin(const std::string& path);

// What the engine uses; null without one. Set once, before tasks run.
void InstallPlugin(DevicePlugin* plugin);
DevicePlugin* InstalledPlugin();

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_LOAD_PLUGIN_H_
