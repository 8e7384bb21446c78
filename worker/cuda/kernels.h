// The device kernels, on plain pointers to device memory; each is queued on
// `stream` (a cudaStream_t) and returns CUDA's error number for its launch, 0
// where it was accepted.
#ifndef DASM_WORKER_CUDA_KERNELS_H_
#define DASM_WORKER_CUDA_KERNELS_H_

#include <cstdint>

#include "worker/cuda/norm_relu_pool_plane.h"
#include "worker/engine/augmentation/augmentation_pixels.h"

namespace dasm {

// As DeviceQueue (device_queue.h). packed_ranks: ranks of the gang.
int LaunchPack(const float* rows, float* packed, int64_t shards, int64_t ranks,
               int64_t rank, int64_t length, void* stream);
int LaunchUnpack(const float* packed, float* rows, int64_t shards,
                 int64_t ranks, int64_t length, void* stream);
int LaunchSumPacked(const float* packed, float* sum, int64_t shards,
                    int64_t ranks, int64_t length, void* stream);
int LaunchSumOwned(const float* rows, float* sum, int64_t shards, int64_t ranks,
                   int64_t rank, int64_t length, void* stream);

// images [count, channels, plane] = tables[channel][byte] of the rows `indices`
// of bytes [*, channels, plane]; tables [channels, 256].
int LaunchGatherBytes(const uint8_t* bytes, const float* tables,
                      const int64_t* indices, int64_t count, int64_t channels,
                      int64_t plane, float* images, void* stream);

template <typename T>
int LaunchAugment(const AugmentCall<T>& call, void* stream);
template <typename T>
int LaunchAugmentAdjoint(const AugmentCall<T>& call, void* stream);

template <typename T>
int Launch(const PlaneForward<T>& call, void* stream);
template <typename T>
int Launch(const PlaneBackward<T>& call, void* stream);
template <typename T>
int Launch(const PlaneDoubleBackward<T>& call, void* stream);

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_KERNELS_H_
