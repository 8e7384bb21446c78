// Orders streams of a device without the host waiting.
#ifndef DASM_WORKER_CUDA_STREAM_ORDER_H_
#define DASM_WORKER_CUDA_STREAM_ORDER_H_

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

namespace dasm {

// What is queued on `then` from now on comes behind all that is queued on
// `first` so far.
inline void Order(c10::cuda::CUDAStream first, c10::cuda::CUDAStream then) {
  cudaEvent_t event;
  C10_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  C10_CUDA_CHECK(cudaEventRecord(event, first));
  C10_CUDA_CHECK(cudaStreamWaitEvent(then, event));
  // Freed once it was passed.
  C10_CUDA_CHECK(cudaEventDestroy(event));
}

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_STREAM_ORDER_H_
