// One image augmented, or one gradient taken back, by a team of `lanes` that
// share its pixels: worker/engine/augmentation/augmentation_pixels.h. Written
// for a device's threads and compiled for the host too, where the team has one
// member. Pixels gather what they are made of, so that nothing is added in the
// order of threads.
//
// Every member calls the same function with the same arguments. `team.Sum` is
// that of norm_relu_pool_plane.h.
#ifndef DASM_WORKER_CUDA_AUGMENTATION_IMAGE_H_
#define DASM_WORKER_CUDA_AUGMENTATION_IMAGE_H_

#include "worker/engine/augmentation/augmentation_pixels.h"

namespace dasm {

// visit(y, x) for the pixels of one member.
template <typename T, typename Team, typename Visit>
DASM_PIXEL void ForOwnPixels(const AugmentCall<T>& call, const Team& team,
                             const Visit& visit) {
  for (int p = team.lane; p < call.height * call.width; p += team.lanes) {
    visit(p / call.width, p % call.width);
  }
}

// The mean over an image of what the members summed of it.
template <typename T, typename Team>
DASM_PIXEL T ImageMeanOf(const AugmentCall<T>& call, const Team& team, T sum) {
  return team.Sum(sum) /
         (static_cast<T>(call.channels) * static_cast<T>(call.height) *
          static_cast<T>(call.width));
}

template <int kSide, typename T, typename Team>
DASM_PIXEL void AugmentImage(const AugmentCall<T>& call, const Team& team,
                             int image) {
  const ImageMap<T> map = MapOf(call, image);
  T constant = 0;
  if (map.colored) {
    T sum = 0;
    ForOwnPixels(call, team, [&](int y, int x) {
      for (int c = 0; c < call.channels; ++c) {
        sum += call.from.At(image, c, y, x);
      }
    });
    constant = map.image * ImageMeanOf(call, team, sum) + map.added;
  }
  const T share = T(1) / static_cast<T>(call.channels);
  ForOwnPixels(call, team, [&](int y, int x) {
    const Taps<T, kSide> taps = TapsOf<kSide>(map, y, x);
    const auto sample = [&](int c) {
      T value =
          taps.weight[0] * call.from.At(image, c, taps.row[0], taps.column[0]);
      for (int k = 1; k < kSide * kSide; ++k) {
        value += taps.weight[k] * call.from.At(image, c, taps.row[k / kSide],
                                               taps.column[k % kSide]);
      }
      return value;
    };
    if (!map.colored) {
      for (int c = 0; c < call.channels; ++c) {
        call.to.At(image, c, y, x) = sample(c);
      }
      return;
    }
    T weights = 0;
    for (const T weight : taps.weight) weights += weight;
    T sum = 0;
    for (int c = 0; c < call.channels; ++c) sum += sample(c);
    const T common = map.pixel * (sum * share) + weights * constant;
    for (int c = 0; c < call.channels; ++c) {
      call.to.At(image, c, y, x) = map.own * sample(c) + common;
    }
  });
}

template <int kSide, typename T, typename Team>
DASM_PIXEL void AugmentGradient(const AugmentCall<T>& call, const Team& team,
                                int image) {
  const ImageMap<T> map = MapOf(call, image);
  T whole = 0;
  ForOwnPixels(call, team, [&](int y, int x) {
    for (int c = 0; c < call.channels; ++c) {
      T sum = 0;
      ForEachReader<kSide>(map, y, x, [&](int row, int column, T weight) {
        sum += weight * call.from.At(image, c, row, column);
      });
      call.to.At(image, c, y, x) = sum;
      whole += sum;
    }
  });
  if (!map.colored) return;
  const T constant = map.image * ImageMeanOf(call, team, whole);
  const T share = T(1) / static_cast<T>(call.channels);
  // Of pixels that this member wrote itself.
  ForOwnPixels(call, team, [&](int y, int x) {
    T sum = 0;
    for (int c = 0; c < call.channels; ++c) sum += call.to.At(image, c, y, x);
    const T common = map.pixel * (sum * share) + constant;
    for (int c = 0; c < call.channels; ++c) {
      T& value = call.to.At(image, c, y, x);
      value = map.own * value + common;
    }
  });
}

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_AUGMENTATION_IMAGE_H_
