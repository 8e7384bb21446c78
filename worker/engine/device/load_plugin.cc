#include "worker/engine/device/load_plugin.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

namespace fs = std::filesystem;

constexpr char kVariable[] = "DASM_CUDA_PLUGIN";
constexpr char kLibrary[] = "libdasm_cuda.so";
constexpr char kInstall[] =
    "; install the CUDA dependencies of torch " DASM_TORCH_VERSION
    " beside its wheel, and put no other CUDA or NCCL on LD_LIBRARY_PATH";

std::atomic<DevicePlugin*> installed = nullptr;

}  // namespace

std::string DefaultPluginPath() {
  if (const char* path = std::getenv(kVariable); path != nullptr) return path;
  std::error_code error;
  const fs::path folder =
      fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path beside = folder.parent_path() / "lib" / kLibrary;
  if (fs::exists(beside, error)) return beside.string();
  return (folder / kLibrary).string();
}

absl::StatusOr<DevicePlugin*> LoadPlugin(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(absl::StrCat(
        path,
        ": there is no such plug-in: build with nvcc and NCCL found "
        "(-DDASM_WITH_CUDA=ON says what is missing), or set ",
        kVariable));
  }
  // Lazily: a function that is missing matters when it is called. Locally: its
  // copies of our libraries are its own.
  void* const library = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the plug-in ", path, " cannot be loaded: ", dlerror(), kInstall));
  }
  const auto factory = reinterpret_cast<DevicePluginFactory>(
      dlsym(library, kDevicePluginSymbol));
  if (factory == nullptr) {
    dlclose(library);
    return absl::FailedPreconditionError(absl::StrCat(
        path, " is not a plug-in of DASM: it has no ", kDevicePluginSymbol));
  }
  char why[512] = "";
  DevicePlugin* const plugin =
      factory(kDevicePluginAbi, kDevicePluginBuild, why, sizeof(why));
  if (plugin == nullptr) {
    // Not closed: it may have started threads.
    return absl::FailedPreconditionError(
        absl::StrCat("the plug-in ", path, " refused: ", why));
  }
  return plugin;
}

void InstallPlugin(DevicePlugin* plugin) { installed.store(plugin); }

DevicePlugin* InstalledPlugin() { return installed.load(); }

}  // namespace dasm
