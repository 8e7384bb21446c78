#include "worker/engine/network/norm_relu_pool_kernel.h"

#include <cmath>
#include <cstring>

// Notation of one plane of P pixels x, as in norm_relu_pool.h: d = x - mean,
// z = d r with r = 1 / sqrt(variance + eps), y = w z + b = x scale + shift,
// u = [y > 0] g / 4 with g the gradient of the pooled pixel.
//
// Compiled once a vector width, by inlining everything below into functions
// with a target attribute. Channels are the lanes, so a wider vector changes no
// addition. This file is compiled with -ffp-contract=off: a fused multiply-add
// would tie the bits to the instruction set.
#define DASM_ALWAYS __attribute__((always_inline))
#define DASM_INLINE DASM_ALWAYS inline

namespace dasm {
namespace {

template <typename T, int kBytes>
struct Vector {
  typedef T Type __attribute__((vector_size(kBytes)));
  static constexpr int kLanes = kBytes / static_cast<int>(sizeof(T));
};

// kVectors neighbouring vectors of channels, which are worked on together.
template <typename T, int kBytes, int kVectors>
struct Lanes {
  using V = typename Vector<T, kBytes>::Type;
  static constexpr int kLanes = Vector<T, kBytes>::kLanes;
  static constexpr int kCount = kLanes * kVectors;

  V v[kVectors];

  static DASM_INLINE Lanes Load(const T* from) {
    Lanes lanes;
    for (int i = 0; i < kVectors; ++i) {
      std::memcpy(&lanes.v[i], from + i * kLanes, sizeof(V));
    }
    return lanes;
  }
  static DASM_INLINE Lanes Of(T value) {
    Lanes lanes;
    for (int i = 0; i < kVectors; ++i) lanes.v[i] = value - V{};
    return lanes;
  }
  DASM_INLINE void Store(T* to) const {
    for (int i = 0; i < kVectors; ++i) {
      std::memcpy(to + i * kLanes, &v[i], sizeof(V));
    }
  }
  DASM_INLINE void AddTo(T* to) const { (Load(to) + *this).Store(to); }

#define DASM_LANES_OPERATOR(op)                                          \
  friend DASM_INLINE Lanes operator op(const Lanes& a, const Lanes& b) { \
    Lanes lanes;                                                         \
    for (int i = 0; i < kVectors; ++i) lanes.v[i] = a.v[i] op b.v[i];    \
    return lanes;                                                        \
  }                                                                      \
  friend DASM_INLINE Lanes operator op(const Lanes& a, T b) {            \
    Lanes lanes;                                                         \
    for (int i = 0; i < kVectors; ++i) lanes.v[i] = a.v[i] op b;         \
    return lanes;                                                        \
  }
  DASM_LANES_OPERATOR(+)
  DASM_LANES_OPERATOR(-)
  DASM_LANES_OPERATOR(*)
  DASM_LANES_OPERATOR(/)
#undef DASM_LANES_OPERATOR

  // max(0, this); a NaN stays one, so that a diverged network shows.
  DASM_INLINE Lanes Relu() const {
    Lanes lanes;
    for (int i = 0; i < kVectors; ++i) lanes.v[i] = v[i] < 0 ? V{} : v[i];
    return lanes;
  }
  // `value` where this is positive, else 0.
  DASM_INLINE Lanes Pass(const Lanes& value) const {
    Lanes lanes;
    for (int i = 0; i < kVectors; ++i) lanes.v[i] = v[i] > 0 ? value.v[i] : V{};
    return lanes;
  }
  DASM_INLINE Lanes InverseSqrt() const {
    Lanes lanes;
    for (int i = 0; i < kVectors; ++i) {
      for (int lane = 0; lane < kLanes; ++lane) {
        lanes.v[i][lane] = T{1} / std::sqrt(v[i][lane]);
      }
    }
    return lanes;
  }
};

// The places of one plane group in its image.
struct Grid {
  int64_t height, width, stride;
  DASM_INLINE int64_t At(int64_t row, int64_t column) const {
    return (row * width + column) * stride;
  }
  DASM_INLINE int64_t Pooled(int64_t row, int64_t column) const {
    return (row * (width / 2) + column) * stride;
  }
};

template <typename L, typename T>
DASM_INLINE void ForwardPlanes(const NormReluPoolForward<T>& call,
                               int64_t image, int64_t channel) {
  const MapShape& s = call.shape;
  const Grid grid = {s.height, s.width, s.channels};
  const T* maps = call.maps + image * s.height * s.width * s.channels + channel;
  T* pooled = call.pooled +
              image * (s.height / 2) * (s.width / 2) * s.channels + channel;

  // Mean and squared deviations of a row while it is in the cache, joined with
  // those of the rows before it (Chan et al. 1979).
  L mean = L::Of(0), squares = L::Of(0);
  const T columns = static_cast<T>(s.width);
  for (int64_t row = 0; row < s.height; ++row) {
    L sum = L::Of(0);
    for (int64_t i = 0; i < s.width; ++i) {
      sum = sum + L::Load(maps + grid.At(row, i));
    }
    const L row_mean = sum / columns;
    L row_squares = L::Of(0);
    for (int64_t i = 0; i < s.width; ++i) {
      const L deviation = L::Load(maps + grid.At(row, i)) - row_mean;
      row_squares = row_squares + deviation * deviation;
    }
    const T rows = static_cast<T>(row);
    const L delta = row_mean - mean;
    mean = mean + delta / (rows + 1);
    squares =
        squares + row_squares + delta * delta * (columns * rows / (rows + 1));
  }
  const L variance = squares / (columns * static_cast<T>(s.height));
  const L rstd = (variance + call.eps).InverseSqrt();
  mean.Store(call.mean + image * s.channels + channel);
  rstd.Store(call.rstd + image * s.channels + channel);

  const L scale = L::Load(call.weight + channel) * rstd;
  const L shift = L::Load(call.bias + channel) - mean * scale;
  for (int64_t row = 0; row < s.height / 2; ++row) {
    for (int64_t column = 0; column < s.width / 2; ++column) {
      const auto pixel = [&](int dy, int dx) DASM_ALWAYS {
        const L x = L::Load(maps + grid.At(2 * row + dy, 2 * column + dx));
        return (x * scale + shift).Relu();
      };
      const L sum = (pixel(0, 0) + pixel(0, 1)) + (pixel(1, 0) + pixel(1, 1));
      (sum * T{0.25}).Store(pooled + grid.Pooled(row, column));
    }
  }
}

// Calls visit(offset) for the pixels that pooling drops: the last row and
// column where their number is odd.
template <typename Visit>
DASM_INLINE void ForDropped(const Grid& grid, const Visit& visit) {
  if (grid.width % 2 != 0) {
    for (int64_t row = 0; row < grid.height / 2 * 2; ++row) {
      visit(grid.At(row, grid.width - 1));
    }
  }
  if (grid.height % 2 != 0) {
    for (int64_t i = 0; i < grid.width; ++i) {
      visit(grid.At(grid.height - 1, i));
    }
  }
}

template <typename L, typename T>
DASM_INLINE void BackwardPlanes(const NormReluPoolBackward<T>& call,
                                int64_t image, int64_t channel) {
  const MapShape& s = call.shape;
  const Grid grid = {s.height, s.width, s.channels};
  const int64_t offset = image * s.height * s.width * s.channels + channel;
  const T* maps = call.maps + offset;
  T* maps_gradient = call.maps_gradient + offset;
  const T* gradient = call.gradient +
                      image * (s.height / 2) * (s.width / 2) * s.channels +
                      channel;
  const L mean = L::Load(call.mean + image * s.channels + channel);
  const L rstd = L::Load(call.rstd + image * s.channels + channel);
  const L scale = L::Load(call.weight + channel) * rstd;
  const L shift = L::Load(call.bias + channel) - mean * scale;

  L sum_u = L::Of(0), sum_ud = L::Of(0);
  for (int64_t row = 0; row < s.height / 2; ++row) {
    L row_u = L::Of(0), row_ud = L::Of(0);
    for (int64_t column = 0; column < s.width / 2; ++column) {
      const L g = L::Load(gradient + grid.Pooled(row, column)) * T{0.25};
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const L x = L::Load(maps + grid.At(2 * row + dy, 2 * column + dx));
          const L u = (x * scale + shift).Pass(g);
          row_u = row_u + u;
          row_ud = row_ud + u * (x - mean);
        }
      }
    }
    sum_u = sum_u + row_u;
    sum_ud = sum_ud + row_ud;
  }
  sum_u.AddTo(call.bias_gradient + channel);
  (sum_ud * rstd).AddTo(call.weight_gradient + channel);

  // scale (u - mean(u) - z mean(u z))
  const T pixels = static_cast<T>(s.height * s.width);
  const L constant = L::Of(0) - scale * sum_u / pixels;
  const L slope = L::Of(0) - scale * rstd * rstd * sum_ud / pixels;
  for (int64_t row = 0; row < s.height / 2; ++row) {
    for (int64_t column = 0; column < s.width / 2; ++column) {
      const L g = L::Load(gradient + grid.Pooled(row, column)) * T{0.25};
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const int64_t at = grid.At(2 * row + dy, 2 * column + dx);
          const L x = L::Load(maps + at);
          const L u = (x * scale + shift).Pass(g);
          (scale * u + (slope * (x - mean) + constant))
              .Store(maps_gradient + at);
        }
      }
    }
  }
  ForDropped(grid, [&](int64_t at) DASM_ALWAYS {
    (slope * (L::Load(maps + at) - mean) + constant).Store(maps_gradient + at);
  });
}

template <typename L, typename T>
DASM_INLINE void DoubleBackwardPlanes(const NormReluPoolDoubleBackward<T>& call,
                                      int64_t image, int64_t channel) {
  const MapShape& s = call.shape;
  const Grid grid = {s.height, s.width, s.channels};
  const int64_t offset = image * s.height * s.width * s.channels + channel;
  const int64_t pooled =
      image * (s.height / 2) * (s.width / 2) * s.channels + channel;
  const T* maps = call.maps + offset;
  const T* cotangent = call.maps_cotangent + offset;
  T* maps_gradient = call.maps_gradient + offset;
  const T* gradient = call.gradient + pooled;
  T* gradient_gradient = call.gradient_gradient + pooled;
  const L mean = L::Load(call.mean + image * s.channels + channel);
  const L rstd = L::Load(call.rstd + image * s.channels + channel);
  const L weight_cotangent = L::Load(call.weight_cotangent + channel);
  const L scale = L::Load(call.weight + channel) * rstd;
  const L shift = L::Load(call.bias + channel) - mean * scale;

  // With X the cotangent of the maps' gradient: mean(u), mean(u z), mean(X),
  // mean(X z), mean(X u).
  L u_ = L::Of(0), uz = L::Of(0), x_ = L::Of(0), xz = L::Of(0), xu = L::Of(0);
  for (int64_t row = 0; row < s.height / 2; ++row) {
    L row_u = L::Of(0), row_uz = L::Of(0), row_x = L::Of(0), row_xz = L::Of(0),
      row_xu = L::Of(0);
    for (int64_t column = 0; column < s.width / 2; ++column) {
      const L g = L::Load(gradient + grid.Pooled(row, column)) * T{0.25};
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const int64_t at = grid.At(2 * row + dy, 2 * column + dx);
          const L map = L::Load(maps + at);
          const L d = map - mean;
          const L u = (map * scale + shift).Pass(g);
          const L x = L::Load(cotangent + at);
          row_u = row_u + u;
          row_uz = row_uz + u * d;
          row_x = row_x + x;
          row_xz = row_xz + x * d;
          row_xu = row_xu + x * u;
        }
      }
    }
    u_ = u_ + row_u;
    uz = uz + row_uz;
    x_ = x_ + row_x;
    xz = xz + row_xz;
    xu = xu + row_xu;
  }
  ForDropped(grid, [&](int64_t at) DASM_ALWAYS {
    const L x = L::Load(cotangent + at);
    x_ = x_ + x;
    xz = xz + x * (L::Load(maps + at) - mean);
  });
  const T pixels = static_cast<T>(s.height * s.width);
  u_ = u_ / pixels;
  uz = uz * rstd / pixels;
  x_ = x_ / pixels;
  xz = xz * rstd / pixels;
  xu = xu / pixels;

  // <X, maps gradient> = scale P t, with t free of the scale.
  const L t = xu - x_ * u_ - xz * uz;
  (rstd * t * pixels).AddTo(call.weight_gradient + channel);

  // The derivative by u: scale (X - mean(X) - z mean(X z)) + W z + B.
  const L u_slope = rstd * (weight_cotangent - scale * xz);
  const L u_constant = L::Load(call.bias_cotangent + channel) - scale * x_;
  // By the pixels, through z and r.
  const L by_x = L::Of(0) - rstd * scale * uz;
  const L constant =
      rstd * (scale * (x_ * uz + xz * u_) - weight_cotangent * u_);
  const L slope = L::Of(0) - rstd * rstd *
                                 (weight_cotangent * uz -
                                  scale * xz * uz * T{2} + scale * t);
  for (int64_t row = 0; row < s.height / 2; ++row) {
    for (int64_t column = 0; column < s.width / 2; ++column) {
      const int64_t pool = grid.Pooled(row, column);
      const L g = L::Load(gradient + pool) * T{0.25};
      L sum = L::Of(0);
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const int64_t at = grid.At(2 * row + dy, 2 * column + dx);
          const L map = L::Load(maps + at);
          const L x = L::Load(cotangent + at);
          const L d = map - mean;
          const L y = map * scale + shift;
          sum = sum + y.Pass(scale * x + (u_slope * d + u_constant));
          (by_x * x + u_slope * y.Pass(g) + (slope * d + constant))
              .Store(maps_gradient + at);
        }
      }
      (sum * T{0.25}).Store(gradient_gradient + pool);
    }
  }
  ForDropped(grid, [&](int64_t at) DASM_ALWAYS {
    const L d = L::Load(maps + at) - mean;
    (by_x * L::Load(cotangent + at) + (slope * d + constant))
        .Store(maps_gradient + at);
  });
}

template <typename L, typename T>
DASM_INLINE void Planes(const NormReluPoolForward<T>& call, int64_t image,
                        int64_t channel) {
  ForwardPlanes<L>(call, image, channel);
}
template <typename L, typename T>
DASM_INLINE void Planes(const NormReluPoolBackward<T>& call, int64_t image,
                        int64_t channel) {
  BackwardPlanes<L>(call, image, channel);
}
template <typename L, typename T>
DASM_INLINE void Planes(const NormReluPoolDoubleBackward<T>& call,
                        int64_t image, int64_t channel) {
  DoubleBackwardPlanes<L>(call, image, channel);
}

// How many vectors are worked on together: measured with AVX-512 at 128
// channels, where 4 make the forward map 1.3 times as fast and the others,
// which then run out of registers, 0.6 times.
template <typename Call>
constexpr int kVectorsOf = 2;
template <typename T>
constexpr int kVectorsOf<NormReluPoolForward<T>> = 4;

// kVectors at a time while there are so many, then one by one.
template <typename T, int kBytes, int kVectors, typename Call>
DASM_INLINE void AllPlanes(const Call& call) {
  using Many = Lanes<T, kBytes, kVectors>;
  using One = Lanes<T, kBytes, 1>;
  for (int64_t image = 0; image < call.shape.images; ++image) {
    int64_t channel = 0;
    for (; channel + Many::kCount <= call.shape.channels;
         channel += Many::kCount) {
      Planes<Many>(call, image, channel);
    }
    for (; channel < call.shape.channels; channel += One::kCount) {
      Planes<One>(call, image, channel);
    }
  }
}

#if defined(__x86_64__)
template <typename T, typename Call>
__attribute__((target("avx2"))) void Avx2(const Call& call) {
  AllPlanes<T, 32, kVectorsOf<Call>>(call);
}
template <typename T, typename Call>
__attribute__((target("avx512f"))) void Avx512(const Call& call) {
  AllPlanes<T, 64, kVectorsOf<Call>>(call);
}
#endif

template <typename T, typename Call>
void Dispatch(VectorWidth width, const Call& call) {
#if defined(__x86_64__)
  if (width == VectorWidth::kAvx512) return Avx512<T>(call);
  if (width == VectorWidth::kAvx2) return Avx2<T>(call);
#endif
  AllPlanes<T, 16, 1>(call);
}

}  // namespace

template <typename T>
void Compute(VectorWidth width, const NormReluPoolForward<T>& call) {
  Dispatch<T>(width, call);
}
template <typename T>
void Compute(VectorWidth width, const NormReluPoolBackward<T>& call) {
  Dispatch<T>(width, call);
}
template <typename T>
void Compute(VectorWidth width, const NormReluPoolDoubleBackward<T>& call) {
  Dispatch<T>(width, call);
}

template void Compute(VectorWidth, const NormReluPoolForward<float>&);
template void Compute(VectorWidth, const NormReluPoolForward<double>&);
template void Compute(VectorWidth, const NormReluPoolBackward<float>&);
template void Compute(VectorWidth, const NormReluPoolBackward<double>&);
template void Compute(VectorWidth, const NormReluPoolDoubleBackward<float>&);
template void Compute(VectorWidth, const NormReluPoolDoubleBackward<double>&);

}  // namespace dasm
