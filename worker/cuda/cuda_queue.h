// DeviceQueue over CUDA: torch's caching allocator, the calling thread's
// current stream, our kernels.
#ifndef DASM_WORKER_CUDA_CUDA_QUEUE_H_
#define DASM_WORKER_CUDA_CUDA_QUEUE_H_

#include <memory>

#include "worker/cuda/device_queue.h"

namespace dasm {

std::unique_ptr<DeviceQueue> MakeCudaQueue(int device);

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_CUDA_QUEUE_H_
