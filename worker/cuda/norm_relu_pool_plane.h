// Instance norm, ReLU and 2x2 average pooling of one plane (an image's channel)
// by a team of `lanes` that share its rows: forward, first and second
// derivative, as worker/engine/network/norm_relu_pool.h defines them. Written
// for a device's threads and compiled for the host too, where the team has one
// member.
//
// Layout: maps [N, H, W, C] (channels last), pooled [N, H/2, W/2, C], per plane
//   [N, C]. Gradients of weight and bias are left per plane, to be added over
//   the images in their order.
// Numerics: `team.Sum` gives every member the sum of what the members brought,
//   always added in the order of the members: the bits depend on the shape and
//   the size of the team alone.
// Every member calls the same functions with the same arguments; one whose
// plane is out of range passes `store` = false and works on another's.
#ifndef DASM_WORKER_CUDA_NORM_RELU_POOL_PLANE_H_
#define DASM_WORKER_CUDA_NORM_RELU_POOL_PLANE_H_

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define DASM_PLANE __host__ __device__ __forceinline__
#else
#define DASM_PLANE inline
#endif

namespace dasm {

// A team of one: what the host has.
struct TeamOfOne {
  static constexpr int lane = 0;
  static constexpr int lanes = 1;
  template <typename T>
  DASM_PLANE T Sum(T value) const {
    return value;
  }
};

struct PlaneShape {
  int images = 0;
  int channels = 0;
  int height = 0;
  int width = 0;

  DASM_PLANE int64_t Maps(int image, int channel) const {
    return static_cast<int64_t>(image) * height * width * channels + channel;
  }
  DASM_PLANE int64_t Pooled(int image, int channel) const {
    return static_cast<int64_t>(image) * (height / 2) * (width / 2) * channels +
           channel;
  }
  DASM_PLANE int64_t Plane(int image, int channel) const {
    return static_cast<int64_t>(image) * channels + channel;
  }
  DASM_PLANE int64_t At(int row, int column) const {
    return (static_cast<int64_t>(row) * width + column) * channels;
  }
  DASM_PLANE int64_t PooledAt(int row, int column) const {
    return (static_cast<int64_t>(row) * (width / 2) + column) * channels;
  }
};

template <typename T>
struct PlaneForward {
  PlaneShape shape;
  T eps;
  const T* maps;
  const T* weight;
  const T* bias;
  T* pooled;
  T* mean;
  T* rstd;
};

template <typename T>
struct PlaneBackward {
  PlaneShape shape;
  const T* gradient;
  const T* maps;
  const T* mean;
  const T* rstd;
  const T* weight;
  const T* bias;
  T* maps_gradient;
  T* weight_gradient;  // [N, C]
  T* bias_gradient;    // [N, C]
};

// Cotangents may be null: zero.
template <typename T>
struct PlaneDoubleBackward {
  PlaneShape shape;
  const T* maps_cotangent;
  const T* weight_cotangent;
  const T* bias_cotangent;
  const T* gradient;
  const T* maps;
  const T* mean;
  const T* rstd;
  const T* weight;
  const T* bias;
  T* gradient_gradient;
  T* maps_gradient;
  T* weight_gradient;  // [N, C]
};

// max(0, y); a NaN stays one.
template <typename T>
DASM_PLANE T PlaneRelu(T y) {
  return y < 0 ? T(0) : y;
}

template <typename T>
DASM_PLANE T PlaneInverseSqrt(T value) {
#ifdef __CUDA_ARCH__
  // Not the approximation: a rounded square root and a rounded division.
  return T(1) / sqrt(value);
#else
  return T(1) / std::sqrt(value);
#endif
}

// Calls visit(offset) for this member's share of the pixels that pooling drops.
template <typename Team, typename Visit>
DASM_PLANE void ForDroppedPixels(const Team& team, const PlaneShape& s,
                                 const Visit& visit) {
  if (s.width % 2 != 0) {
    for (int row = team.lane; row < s.height / 2 * 2; row += team.lanes) {
      visit(s.At(row, s.width - 1));
    }
  }
  if (s.height % 2 != 0) {
    for (int i = team.lane; i < s.width; i += team.lanes) {
      visit(s.At(s.height - 1, i));
    }
  }
}

template <typename T, typename Team>
DASM_PLANE void RunPlane(const PlaneForward<T>& call, const Team& team,
                         int image, int channel, bool store) {
  const PlaneShape& s = call.shape;
  const T* maps = call.maps + s.Maps(image, channel);
  const T pixels = static_cast<T>(s.height) * static_cast<T>(s.width);
  T sum = 0;
  for (int row = team.lane; row < s.height; row += team.lanes) {
    for (int i = 0; i < s.width; ++i) sum += maps[s.At(row, i)];
  }
  const T mean = team.Sum(sum) / pixels;
  T squares = 0;
  for (int row = team.lane; row < s.height; row += team.lanes) {
    for (int i = 0; i < s.width; ++i) {
      const T deviation = maps[s.At(row, i)] - mean;
      squares += deviation * deviation;
    }
  }
  const T variance = team.Sum(squares) / pixels;
  const T rstd = PlaneInverseSqrt(variance + call.eps);
  if (store && team.lane == 0) {
    call.mean[s.Plane(image, channel)] = mean;
    call.rstd[s.Plane(image, channel)] = rstd;
  }
  const T scale = call.weight[channel] * rstd;
  const T shift = call.bias[channel] - mean * scale;
  if (!store) return;
  T* pooled = call.pooled + s.Pooled(image, channel);
  for (int row = team.lane; row < s.height / 2; row += team.lanes) {
    for (int column = 0; column < s.width / 2; ++column) {
      T cell = 0;
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const T x = maps[s.At(2 * row + dy, 2 * column + dx)];
          cell += PlaneRelu(x * scale + shift);
        }
      }
      pooled[s.PooledAt(row, column)] = cell * T(0.25);
    }
  }
}

template <typename T, typename Team>
DASM_PLANE void RunPlane(const PlaneBackward<T>& call, const Team& team,
                         int image, int channel, bool store) {
  const PlaneShape& s = call.shape;
  const T* maps = call.maps + s.Maps(image, channel);
  const T* gradient = call.gradient + s.Pooled(image, channel);
  const T mean = call.mean[s.Plane(image, channel)];
  const T rstd = call.rstd[s.Plane(image, channel)];
  const T scale = call.weight[channel] * rstd;
  const T shift = call.bias[channel] - mean * scale;
  const T pixels = static_cast<T>(s.height) * static_cast<T>(s.width);

  T sum_u = 0, sum_ud = 0;
  for (int row = team.lane; row < s.height / 2; row += team.lanes) {
    for (int column = 0; column < s.width / 2; ++column) {
      const T g = gradient[s.PooledAt(row, column)] * T(0.25);
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const T x = maps[s.At(2 * row + dy, 2 * column + dx)];
          const T u = x * scale + shift > 0 ? g : T(0);
          sum_u += u;
          sum_ud += u * (x - mean);
        }
      }
    }
  }
  sum_u = team.Sum(sum_u);
  sum_ud = team.Sum(sum_ud);
  if (!store) return;
  if (team.lane == 0) {
    call.bias_gradient[s.Plane(image, channel)] = sum_u;
    call.weight_gradient[s.Plane(image, channel)] = sum_ud * rstd;
  }
  // scale (u - mean(u) - z mean(u z))
  const T constant = -scale * sum_u / pixels;
  const T slope = -scale * rstd * rstd * sum_ud / pixels;
  T* maps_gradient = call.maps_gradient + s.Maps(image, channel);
  for (int row = team.lane; row < s.height / 2; row += team.lanes) {
    for (int column = 0; column < s.width / 2; ++column) {
      const T g = gradient[s.PooledAt(row, column)] * T(0.25);
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const int64_t at = s.At(2 * row + dy, 2 * column + dx);
          const T x = maps[at];
          const T u = x * scale + shift > 0 ? g : T(0);
          maps_gradient[at] = scale * u + (slope * (x - mean) + constant);
        }
      }
    }
  }
  ForDroppedPixels(team, s, [&](int64_t at) {
    maps_gradient[at] = slope * (maps[at] - mean) + constant;
  });
}

template <typename T, typename Team>
DASM_PLANE void RunPlane(const PlaneDoubleBackward<T>& call, const Team& team,
                         int image, int channel, bool store) {
  const PlaneShape& s = call.shape;
  const T* maps = call.maps + s.Maps(image, channel);
  const T* cotangent = call.maps_cotangent == nullptr
                           ? nullptr
                           : call.maps_cotangent + s.Maps(image, channel);
  const T* gradient = call.gradient + s.Pooled(image, channel);
  const T mean = call.mean[s.Plane(image, channel)];
  const T rstd = call.rstd[s.Plane(image, channel)];
  const T weight_cotangent =
      call.weight_cotangent == nullptr ? T(0) : call.weight_cotangent[channel];
  const T bias_cotangent =
      call.bias_cotangent == nullptr ? T(0) : call.bias_cotangent[channel];
  const T scale = call.weight[channel] * rstd;
  const T shift = call.bias[channel] - mean * scale;
  const T pixels = static_cast<T>(s.height) * static_cast<T>(s.width);

  // With X the cotangent of the maps' gradient, over the plane: the means of
  // u, u z, X, X z and X u.
  T u_ = 0, uz = 0, x_ = 0, xz = 0, xu = 0;
  for (int row = team.lane; row < s.height / 2; row += team.lanes) {
    for (int column = 0; column < s.width / 2; ++column) {
      const T g = gradient[s.PooledAt(row, column)] * T(0.25);
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const int64_t at = s.At(2 * row + dy, 2 * column + dx);
          const T map = maps[at];
          const T d = map - mean;
          const T u = map * scale + shift > 0 ? g : T(0);
          const T x = cotangent == nullptr ? T(0) : cotangent[at];
          u_ += u;
          uz += u * d;
          x_ += x;
          xz += x * d;
          xu += x * u;
        }
      }
    }
  }
  if (cotangent != nullptr) {
    ForDroppedPixels(team, s, [&](int64_t at) {
      const T x = cotangent[at];
      x_ += x;
      xz += x * (maps[at] - mean);
    });
  }
  u_ = team.Sum(u_) / pixels;
  uz = team.Sum(uz) * rstd / pixels;
  x_ = team.Sum(x_) / pixels;
  xz = team.Sum(xz) * rstd / pixels;
  xu = team.Sum(xu) / pixels;
  if (!store) return;

  // <X, maps gradient> = scale P t, with t free of the scale.
  const T t = xu - x_ * u_ - xz * uz;
  if (team.lane == 0) {
    call.weight_gradient[s.Plane(image, channel)] = rstd * t * pixels;
  }
  // The derivative by u: scale (X - mean(X) - z mean(X z)) + W z + B.
  const T u_slope = rstd * (weight_cotangent - scale * xz);
  const T u_constant = bias_cotangent - scale * x_;
  // By the pixels, through z and rstd.
  const T by_x = -rstd * scale * uz;
  const T constant =
      rstd * (scale * (x_ * uz + xz * u_) - weight_cotangent * u_);
  const T slope = -rstd * rstd *
                  (weight_cotangent * uz - scale * xz * uz * T(2) + scale * t);
  T* gradient_gradient = call.gradient_gradient + s.Pooled(image, channel);
  T* maps_gradient = call.maps_gradient + s.Maps(image, channel);
  for (int row = team.lane; row < s.height / 2; row += team.lanes) {
    for (int column = 0; column < s.width / 2; ++column) {
      const T g = gradient[s.PooledAt(row, column)] * T(0.25);
      T sum = 0;
      for (int dy = 0; dy < 2; ++dy) {
        for (int dx = 0; dx < 2; ++dx) {
          const int64_t at = s.At(2 * row + dy, 2 * column + dx);
          const T map = maps[at];
          const T x = cotangent == nullptr ? T(0) : cotangent[at];
          const T d = map - mean;
          const bool open = map * scale + shift > 0;
          if (open) sum += scale * x + (u_slope * d + u_constant);
          maps_gradient[at] =
              by_x * x + (open ? u_slope * g : T(0)) + (slope * d + constant);
        }
      }
      gradient_gradient[s.PooledAt(row, column)] = sum * T(0.25);
    }
  }
  ForDroppedPixels(team, s, [&](int64_t at) {
    const T x = cotangent == nullptr ? T(0) : cotangent[at];
    maps_gradient[at] = by_x * x + (slope * (maps[at] - mean) + constant);
  });
}

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_NORM_RELU_POOL_PLANE_H_
