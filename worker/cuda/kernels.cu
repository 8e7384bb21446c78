#include <algorithm>

#include "worker/cuda/augmentation_image.h"
#include "worker/cuda/kernels.h"
#include "worker/cuda/shard_row_math.h"

namespace dasm {
namespace {

constexpr int kThreads = 256;
// Channels and rows of a block of the plane kernels. Neighbouring threads read
// neighbouring channels.
constexpr int kChannels = 32;
constexpr int kLanes = 8;

cudaStream_t StreamOf(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

unsigned BlocksFor(int64_t elements) {
  // Enough to fill a device; the kernels stride over the rest.
  constexpr int64_t kMost = 65535;
  return static_cast<unsigned>(
      std::min((elements + kThreads - 1) / kThreads, kMost));
}

__device__ int64_t FirstElement() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ int64_t ElementStride() {
  return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

__global__ void PackKernel(const float* rows, float* packed, int64_t owned,
                           int64_t ranks, int64_t rank, int64_t length) {
  for (int64_t e = FirstElement(); e < owned * length; e += ElementStride()) {
    const int64_t k = e / length;
    packed[e] = rows[(k * ranks + rank) * length + e % length];
  }
}

__global__ void UnpackKernel(const float* packed, float* rows, int64_t shards,
                             int64_t ranks, int64_t per_rank, int64_t length) {
  for (int64_t e = FirstElement(); e < shards * length; e += ElementStride()) {
    rows[e] =
        packed[PackedIndex(e / length, e % length, ranks, per_rank, length)];
  }
}

__global__ void SumPackedKernel(const float* packed, float* sum, int64_t shards,
                                int64_t ranks, int64_t per_rank,
                                int64_t length) {
  for (int64_t i = FirstElement(); i < length; i += ElementStride()) {
    sum[i] = SumPackedColumn(packed, i, shards, ranks, per_rank, length);
  }
}

__global__ void SumOwnedKernel(const float* rows, float* sum, int64_t shards,
                               int64_t ranks, int64_t rank, int64_t length) {
  for (int64_t i = FirstElement(); i < length; i += ElementStride()) {
    sum[i] = SumOwnedColumn(rows, i, shards, ranks, rank, length);
  }
}

__global__ void GatherBytesKernel(const uint8_t* bytes, const float* tables,
                                  const int64_t* indices, int64_t count,
                                  int64_t channels, int64_t plane,
                                  float* images) {
  const int64_t image_size = channels * plane;
  for (int64_t e = FirstElement(); e < count * image_size;
       e += ElementStride()) {
    const int64_t in_image = e % image_size;
    const uint8_t byte = bytes[indices[e / image_size] * image_size + in_image];
    images[e] = tables[in_image / plane * 256 + byte];
  }
}

// The threads of a block that share a channel.
template <typename T>
struct BlockTeam {
  int lane;
  static constexpr int lanes = kLanes;
  T* shared;  // [kLanes][kChannels]
  __device__ T Sum(T value) const {
    __syncthreads();  // the readers of the sum before this one are through
    shared[threadIdx.y * kChannels + threadIdx.x] = value;
    __syncthreads();
    T sum = shared[threadIdx.x];
    for (int other = 1; other < kLanes; ++other) {
      sum += shared[other * kChannels + threadIdx.x];
    }
    return sum;
  }
};

template <typename T, typename Call>
__global__ void __launch_bounds__(kChannels* kLanes) PlaneKernel(Call call) {
  __shared__ T shared[kLanes * kChannels];
  const int channel = blockIdx.y * kChannels + threadIdx.x;
  const bool store = channel < call.shape.channels;
  const BlockTeam<T> team = {static_cast<int>(threadIdx.y), shared};
  // Images stride over the grid, the same number for all of a block.
  for (int image = blockIdx.x; image < call.shape.images; image += gridDim.x) {
    RunPlane(call, team, image, store ? channel : call.shape.channels - 1,
             store);
  }
}

template <typename T, typename Call>
int LaunchPlanes(const Call& call, void* stream) {
  if (call.shape.images == 0 || call.shape.channels == 0) return 0;
  const dim3 grid(call.shape.images,
                  (call.shape.channels + kChannels - 1) / kChannels);
  PlaneKernel<T><<<grid, dim3(kChannels, kLanes), 0, StreamOf(stream)>>>(call);
  return cudaGetLastError();
}

// A block that shares an image.
template <typename T>
struct ImageTeam {
  int lane;
  static constexpr int lanes = kThreads;
  T* shared;  // [kThreads]
  __device__ T Sum(T value) const {
    shared[lane] = value;
    // Neighbours at half the distance each time, in one order.
    for (int half = kThreads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (lane < half) shared[lane] += shared[lane + half];
    }
    __syncthreads();
    return shared[0];
  }
};

template <typename T, int kSide, bool kAdjoint>
__global__ void __launch_bounds__(kThreads) AugmentKernel(AugmentCall<T> call) {
  __shared__ T shared[kThreads];
  const ImageTeam<T> team = {static_cast<int>(threadIdx.x), shared};
  const int image = static_cast<int>(blockIdx.x);
  if constexpr (kAdjoint) {
    AugmentGradient<kSide>(call, team, image);
  } else {
    AugmentImage<kSide>(call, team, image);
  }
}

template <bool kAdjoint, typename T>
int LaunchAugmentKernel(const AugmentCall<T>& call, void* stream) {
  if (call.images == 0) return 0;
  if (call.Samples()) {
    AugmentKernel<T, 2, kAdjoint>
        <<<call.images, kThreads, 0, StreamOf(stream)>>>(call);
  } else {
    AugmentKernel<T, 1, kAdjoint>
        <<<call.images, kThreads, 0, StreamOf(stream)>>>(call);
  }
  return cudaGetLastError();
}

}  // namespace

int LaunchPack(const float* rows, float* packed, int64_t shards, int64_t ranks,
               int64_t rank, int64_t length, void* stream) {
  const int64_t owned = rank < shards ? (shards - rank - 1) / ranks + 1 : 0;
  if (owned * length == 0) return 0;
  PackKernel<<<BlocksFor(owned * length), kThreads, 0, StreamOf(stream)>>>(
      rows, packed, owned, ranks, rank, length);
  return cudaGetLastError();
}

int LaunchUnpack(const float* packed, float* rows, int64_t shards,
                 int64_t ranks, int64_t length, void* stream) {
  if (shards * length == 0) return 0;
  UnpackKernel<<<BlocksFor(shards * length), kThreads, 0, StreamOf(stream)>>>(
      packed, rows, shards, ranks, (shards + ranks - 1) / ranks, length);
  return cudaGetLastError();
}

int LaunchSumPacked(const float* packed, float* sum, int64_t shards,
                    int64_t ranks, int64_t length, void* stream) {
  if (length == 0) return 0;
  SumPackedKernel<<<BlocksFor(length), kThreads, 0, StreamOf(stream)>>>(
      packed, sum, shards, ranks, (shards + ranks - 1) / ranks, length);
  return cudaGetLastError();
}

int LaunchSumOwned(const float* rows, float* sum, int64_t shards, int64_t ranks,
                   int64_t rank, int64_t length, void* stream) {
  if (length == 0) return 0;
  SumOwnedKernel<<<BlocksFor(length), kThreads, 0, StreamOf(stream)>>>(
      rows, sum, shards, ranks, rank, length);
  return cudaGetLastError();
}

int LaunchGatherBytes(const uint8_t* bytes, const float* tables,
                      const int64_t* indices, int64_t count, int64_t channels,
                      int64_t plane, float* images, void* stream) {
  const int64_t elements = count * channels * plane;
  if (elements == 0) return 0;
  GatherBytesKernel<<<BlocksFor(elements), kThreads, 0, StreamOf(stream)>>>(
      bytes, tables, indices, count, channels, plane, images);
  return cudaGetLastError();
}

template <typename T>
int LaunchAugment(const AugmentCall<T>& call, void* stream) {
  return LaunchAugmentKernel<false>(call, stream);
}
template <typename T>
int LaunchAugmentAdjoint(const AugmentCall<T>& call, void* stream) {
  return LaunchAugmentKernel<true>(call, stream);
}

template <typename T>
int Launch(const PlaneForward<T>& call, void* stream) {
  return LaunchPlanes<T>(call, stream);
}
template <typename T>
int Launch(const PlaneBackward<T>& call, void* stream) {
  return LaunchPlanes<T>(call, stream);
}
template <typename T>
int Launch(const PlaneDoubleBackward<T>& call, void* stream) {
  return LaunchPlanes<T>(call, stream);
}

template int LaunchAugment(const AugmentCall<float>&, void*);
template int LaunchAugment(const AugmentCall<double>&, void*);
template int LaunchAugmentAdjoint(const AugmentCall<float>&, void*);
template int LaunchAugmentAdjoint(const AugmentCall<double>&, void*);
template int Launch(const PlaneForward<float>&, void*);
template int Launch(const PlaneForward<double>&, void*);
template int Launch(const PlaneBackward<float>&, void*);
template int Launch(const PlaneBackward<double>&, void*);
template int Launch(const PlaneDoubleBackward<float>&, void*);
template int Launch(const PlaneDoubleBackward<double>&, void*);

}  // namespace dasm
