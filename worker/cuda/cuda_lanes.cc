#include "worker/cuda/cuda_lanes.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <vector>

#include "common/base/status_macros.h"
#include "worker/cuda/stream_order.h"

namespace dasm {
namespace {

class CudaLanes final : public DeviceLanes {
 public:
  CudaLanes(int device, int lanes)
      : device_(static_cast<c10::DeviceIndex>(device)) {
    for (int lane = 0; lane < lanes; ++lane) {
      streams_.push_back(c10::cuda::getStreamFromPool(
          /*isHighPriority=*/false, device_));
    }
  }

  absl::Status ForEach(Work work) override {
    const c10::cuda::CUDAStream main = c10::cuda::getCurrentCUDAStream(device_);
    for (const c10::cuda::CUDAStream& stream : streams_) Order(main, stream);
    const auto run = [&]() -> absl::Status {
      for (size_t lane = 0; lane < streams_.size(); ++lane) {
        const c10::cuda::CUDAStreamGuard guard(streams_[lane]);
        DASM_RETURN_IF_ERROR(work(static_cast<int>(lane)));
      }
      return absl::OkStatus();
    };
    const absl::Status status = run();
    for (const c10::cuda::CUDAStream& stream : streams_) Order(stream, main);
    return status;
  }

 private:
  const c10::DeviceIndex device_;
  std::vector<c10::cuda::CUDAStream> streams_;
};

}  // namespace

std::unique_ptr<DeviceLanes> MakeCudaLanes(int device, int lanes) {
  return std::make_unique<CudaLanes>(device, lanes);
}

}  // namespace dasm
