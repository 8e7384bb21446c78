#include "worker/cuda/cuda_queue.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "worker/cuda/kernels.h"

namespace dasm {
namespace {

absl::Status StatusOf(int error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  return WithFailureClass(
      absl::InternalError(absl::StrCat(
          what, ": ", cudaGetErrorString(static_cast<cudaError_t>(error)))),
      FailureClass::kDeviceFault);
}

class Buffer final : public DeviceBuffer {
 public:
  explicit Buffer(void* data) : data_(data) {}
  // The allocator hands it out again on the stream it came from, behind what
  // is queued there.
  ~Buffer() override { c10::cuda::CUDACachingAllocator::raw_delete(data_); }
  float* data() override { return static_cast<float*>(data_); }

 private:
  void* const data_;
};

class Mark final : public DeviceMark {
 public:
  explicit Mark(cudaEvent_t event) : event_(event) {}
  ~Mark() override { cudaEventDestroy(event_); }
  absl::StatusOr<bool> Passed() override {
    // Another thread of this process may be capturing a graph; a query of an
    // event outside of it is none of its business.
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    cudaThreadExchangeStreamCaptureMode(&mode);
    const cudaError_t error = cudaEventQuery(event_);
    cudaThreadExchangeStreamCaptureMode(&mode);
    if (error == cudaSuccess) return true;
    if (error == cudaErrorNotReady) {
      (void)cudaGetLastError();  // it is remembered otherwise
      return false;
    }
    return StatusOf(error, "waiting for the device");
  }

 private:
  const cudaEvent_t event_;
};

class CudaQueue final : public DeviceQueue {
 public:
  explicit CudaQueue(int device)
      : device_(static_cast<c10::DeviceIndex>(device)) {}

  void* stream() override {
    return c10::cuda::getCurrentCUDAStream(device_).stream();
  }

  absl::StatusOr<std::unique_ptr<DeviceBuffer>> Allocate(
      int64_t elements) override {
    const c10::cuda::CUDAGuard guard(device_);
    try {
      return std::make_unique<Buffer>(
          c10::cuda::CUDACachingAllocator::raw_alloc_with_stream(
              elements * sizeof(float),
              c10::cuda::getCurrentCUDAStream(device_)));
    } catch (const c10::OutOfMemoryError& error) {
      return WithFailureClass(
          absl::ResourceExhaustedError(error.what_without_backtrace()),
          FailureClass::kOomDevice);
    } catch (const c10::Error& error) {
      return WithFailureClass(
          absl::InternalError(error.what_without_backtrace()),
          FailureClass::kDeviceFault);
    }
  }

  absl::StatusOr<std::unique_ptr<DeviceMark>> Mark() override {
    const c10::cuda::CUDAGuard guard(device_);
    cudaEvent_t event;
    if (const int error =
            cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
        error != cudaSuccess) {
      return StatusOf(error, "making an event");
    }
    auto mark = std::make_unique<dasm::Mark>(event);
    if (const int error =
            cudaEventRecord(event, c10::cuda::getCurrentCUDAStream(device_));
        error != cudaSuccess) {
      return StatusOf(error, "recording an event");
    }
    return mark;
  }

  absl::Status CopyIn(void* to, const void* from, int64_t bytes) override {
    const c10::cuda::CUDAGuard guard(device_);
    // From pageable memory the call returns when the source was staged.
    return StatusOf(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice,
                                    c10::cuda::getCurrentCUDAStream(device_)),
                    "copying to the device");
  }
  absl::Status CopyOut(void* to, const void* from, int64_t bytes) override {
    const c10::cuda::CUDAGuard guard(device_);
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(device_);
    int error =
        cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream);
    if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
    return StatusOf(error, "copying from the device");
  }

  absl::Status Pack(const ShardRows& shape, int rank, const float* rows,
                    float* packed) override {
    const c10::cuda::CUDAGuard guard(device_);
    return StatusOf(LaunchPack(rows, packed, shape.shards, shape.ranks, rank,
                               shape.length, stream()),
                    "packing rows");
  }
  absl::Status Unpack(const ShardRows& shape, const float* packed,
                      float* rows) override {
    const c10::cuda::CUDAGuard guard(device_);
    return StatusOf(LaunchUnpack(packed, rows, shape.shards, shape.ranks,
                                 shape.length, stream()),
                    "unpacking rows");
  }
  absl::Status SumPacked(const ShardRows& shape, const float* packed,
                         float* sum) override {
    const c10::cuda::CUDAGuard guard(device_);
    return StatusOf(LaunchSumPacked(packed, sum, shape.shards, shape.ranks,
                                    shape.length, stream()),
                    "adding rows");
  }
  absl::Status SumOwned(const ShardRows& shape, int rank, const float* rows,
                        float* sum) override {
    const c10::cuda::CUDAGuard guard(device_);
    return StatusOf(LaunchSumOwned(rows, sum, shape.shards, shape.ranks, rank,
                                   shape.length, stream()),
                    "adding rows");
  }

 private:
  const c10::DeviceIndex device_;
};

}  // namespace

std::unique_ptr<DeviceQueue> MakeCudaQueue(int device) {
  return std::make_unique<CudaQueue>(device);
}

}  // namespace dasm
