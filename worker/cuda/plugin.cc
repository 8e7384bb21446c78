// The library's one door: worker/engine/device/device_plugin.h.
#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/cuda/cuda_lanes.h"
#include "worker/cuda/cuda_queue.h"
#include "worker/cuda/cuda_step_graph.h"
#include "worker/cuda/device_collective.h"
#include "worker/cuda/nccl_collective.h"
#include "worker/cuda/nccl_library.h"
#include "worker/engine/device/device_plugin.h"

namespace dasm {
namespace {

// What the caller's torch must be of.
constexpr int kLeastComputeCapability = 80;

absl::Status CudaError(cudaError_t error, const char* what,
                       FailureClass failure = FailureClass::kDeviceFault) {
  if (error == cudaSuccess) return absl::OkStatus();
  return WithFailureClass(absl::FailedPreconditionError(absl::StrCat(
                              "CUDA: ", what, ": ", cudaGetErrorString(error))),
                          failure);
}

class SteadyClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
  absl::Duration Steady() const override {
    return absl::FromChrono(
        std::chrono::steady_clock::now().time_since_epoch());
  }
};

// A gang's queue and library live as long as its collective.
class OwningCollective final : public Collective {
 public:
  OwningCollective(std::unique_ptr<DeviceQueue> queue,
                   std::unique_ptr<NcclApi> nccl,
                   std::unique_ptr<Collective> inner)
      : queue_(std::move(queue)),
        nccl_(std::move(nccl)),
        inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  Memory memory() const override { return inner_->memory(); }
  absl::Status Broadcast(absl::Span<char> bytes) override {
    return inner_->Broadcast(bytes);
  }
  absl::Status Barrier() override { return inner_->Barrier(); }
  void Abort(absl::Status why) override { inner_->Abort(std::move(why)); }

 private:
  absl::Status DoSumShards(absl::Span<const float> rows, int64_t shards,
                           absl::Span<float> sum, int first) override {
    return inner_->SumShards(rows, shards, sum, first);
  }
  absl::Status DoGatherShards(absl::Span<float> rows, int64_t shards,
                              int first) override {
    return inner_->GatherShards(rows, shards, first);
  }

  const std::unique_ptr<DeviceQueue> queue_;
  const std::unique_ptr<NcclApi> nccl_;
  const std::unique_ptr<Collective> inner_;
};

class CudaPlugin final : public DevicePlugin {
 public:
  absl::StatusOr<std::vector<DeviceInfo>> Devices() override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
      (void)cudaGetLastError();
      return absl::FailedPreconditionError(absl::StrCat(
          "CUDA sees no device: ",
          error == cudaSuccess ? "none is visible (CUDA_VISIBLE_DEVICES?)"
                               : cudaGetErrorString(error)));
    }
    std::vector<DeviceInfo> devices;
    for (int index = 0; index < count; ++index) {
      cudaDeviceProp properties;
      DASM_RETURN_IF_ERROR(CudaError(
          cudaGetDeviceProperties(&properties, index), "asking a device"));
      DeviceInfo& device = devices.emplace_back();
      device.index = index;
      device.name = properties.name;
      device.architecture =
          absl::StrCat("sm", properties.major, properties.minor);
      device.memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
      device.multiprocessors = properties.multiProcessorCount;
      for (const char byte : properties.uuid.bytes) {
        absl::StrAppendFormat(&device.uuid, "%02x",
                              static_cast<unsigned char>(byte));
      }
    }
    return devices;
  }

  absl::Status Initialize(int device) override {
    DASM_ASSIGN_OR_RETURN(const std::vector<DeviceInfo> devices, Devices());
    if (device < 0 || device >= static_cast<int>(devices.size())) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "device cuda:%d of a machine with %d", device, devices.size()));
    }
    cudaDeviceProp properties;
    DASM_RETURN_IF_ERROR(CudaError(cudaGetDeviceProperties(&properties, device),
                                   "asking the device"));
    if (properties.major * 10 + properties.minor < kLeastComputeCapability) {
      return absl::FailedPreconditionError(absl::StrCat(
          properties.name, " (", devices[device].architecture,
          "): this build needs a device of compute capability 8.0 or newer"));
    }
    // Read by cuBLAS when it makes a handle: one workspace a stream, or its
    // results depend on what else runs.
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/1);
    at::globalContext().lazyInitDevice(at::kCUDA);
    return CudaError(cudaSetDevice(device), "choosing the device");
  }

  absl::StatusOr<std::string> NewGangId() override {
    DASM_ASSIGN_OR_RETURN(const std::unique_ptr<NcclApi> nccl, OpenNccl(0));
    return nccl->NewId();
  }

  absl::StatusOr<std::unique_ptr<Collective>> JoinGang(
      const DeviceGangOptions& options) override {
    std::unique_ptr<DeviceQueue> queue = MakeCudaQueue(options.device);
    if (options.ranks == 1 && options.id.empty() &&
        options.memory == Collective::Memory::kDevice) {
      auto alone = std::make_unique<DeviceCollective>(queue.get());
      return std::make_unique<OwningCollective>(std::move(queue), nullptr,
                                                std::move(alone));
    }
    DASM_ASSIGN_OR_RETURN(std::unique_ptr<NcclApi> nccl,
                          OpenNccl(options.device));
    NcclCollective::Options gang;
    gang.rank = options.rank;
    gang.ranks = options.ranks;
    gang.id = options.id;
    gang.memory = options.memory;
    gang.ordered = options.ordered;
    gang.join_deadline = options.join_deadline;
    gang.least_deadline = options.least_deadline;
    gang.abort_deadline = options.abort_deadline;
    gang.on_stuck = options.on_stuck;
    static const SteadyClock clock;
    DASM_ASSIGN_OR_RETURN(
        std::unique_ptr<NcclCollective> joined,
        NcclCollective::Join(gang, nccl.get(), queue.get(), &clock));
    return std::make_unique<OwningCollective>(std::move(queue), std::move(nccl),
                                              std::move(joined));
  }

  std::unique_ptr<StepGraph> MakeStepGraph(int device) override {
    return MakeCudaStepGraph(device);
  }
  std::unique_ptr<DeviceLanes> MakeLanes(int device, int lanes) override {
    return MakeCudaLanes(device, lanes);
  }

  DeviceMemory Memory(int device) override {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
    constexpr size_t kAll =
        static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    DeviceMemory memory;
    memory.allocated_bytes = stats.allocated_bytes[kAll].current;
    memory.peak_allocated_bytes = stats.allocated_bytes[kAll].peak;
    memory.peak_reserved_bytes = stats.reserved_bytes[kAll].peak;
    size_t free = 0, total = 0;
    const c10::cuda::CUDAGuard guard(index);
    if (cudaMemGetInfo(&free, &total) == cudaSuccess) {
      memory.total_bytes = static_cast<int64_t>(total);
    }
    return memory;
  }

  void ReleaseMemory(int device) override {
    c10::cuda::CUDACachingAllocator::emptyCache();
    c10::cuda::CUDACachingAllocator::resetPeakStats(
        static_cast<c10::DeviceIndex>(device));
  }

  absl::Status Synchronize(int device) override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    return CudaError(cudaDeviceSynchronize(), "the device failed");
  }
};

}  // namespace
}  // namespace dasm

extern "C" __attribute__((visibility("default"))) dasm::DevicePlugin*
dasm_device_plugin(int abi, const char* build, char* error, size_t size) {
  if (abi != dasm::kDevicePluginAbi ||
      std::strcmp(build, dasm::kDevicePluginBuild) != 0) {
    std::snprintf(error, size,
                  "it is of ABI %d, build %s; the runner of %d, %s: install "
                  "both from one release",
                  dasm::kDevicePluginAbi, dasm::kDevicePluginBuild, abi, build);
    return nullptr;
  }
  // Never destroyed: tensors of the device may outlive every other static.
  static dasm::CudaPlugin* const plugin = new dasm::CudaPlugin;
  return plugin;
}
