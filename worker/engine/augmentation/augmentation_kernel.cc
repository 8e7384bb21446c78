#include "worker/engine/augmentation/augmentation_kernel.h"

#include <vector>

namespace dasm {
namespace {

// The taps of all pixels of the result, by rows: how far they are from an
// image's first element, and what the weights of each pixel come to.
template <typename T, int kSide>
class TapTable {
 public:
  static constexpr int kTaps = kSide * kSide;

  explicit TapTable(const AugmentCall<T>& call)
      : width_(call.width),
        at_(static_cast<size_t>(call.height) * call.width * kTaps),
        weight_(at_.size()),
        sum_(static_cast<size_t>(call.height) * call.width) {}

  // Of a picture whose rows and columns are so far apart.
  void Fill(const ImageMap<T>& map, int row, int column) {
    for (int y = 0; y < map.height; ++y) {
      int* at = at_.data() + static_cast<size_t>(y) * width_ * kTaps;
      T* weight = weight_.data() + static_cast<size_t>(y) * width_ * kTaps;
      T* sum = sum_.data() + static_cast<size_t>(y) * width_;
      for (int x = 0; x < width_; ++x) {
        const Taps<T, kSide> taps = TapsOf<kSide>(map, y, x);
        T of_pixel = 0;
        for (int k = 0; k < kTaps; ++k) {
          at[k * width_ + x] =
              taps.row[k / kSide] * row + taps.column[k % kSide] * column;
          weight[k * width_ + x] = taps.weight[k];
          of_pixel += taps.weight[k];
        }
        sum[x] = of_pixel;
      }
    }
  }

  // Tap k of pixel x of the row is [k width + x].
  const int* At(int y) const {
    return at_.data() + static_cast<size_t>(y) * width_ * kTaps;
  }
  const T* Weight(int y) const {
    return weight_.data() + static_cast<size_t>(y) * width_ * kTaps;
  }
  const T* Sum(int y) const {
    return sum_.data() + static_cast<size_t>(y) * width_;
  }

 private:
  const int width_;
  std::vector<int> at_;
  std::vector<T> weight_;
  std::vector<T> sum_;
};

// Of all channels and pixels of an image. Eight partial sums: one alone would
// wait for each addition.
template <typename T>
T ImageMean(const AugmentCall<T>& call, const T* image, int64_t channel,
            int64_t row, int64_t column) {
  T sums[8] = {};
  for (int c = 0; c < call.channels; ++c) {
    for (int y = 0; y < call.height; ++y) {
      const T* from = image + c * channel + y * row;
      int x = 0;
      for (; x + 8 <= call.width; x += 8, from += 8 * column) {
        for (int i = 0; i < 8; ++i) sums[i] += from[i * column];
      }
      for (int i = 0; x + i < call.width; ++i) sums[i] += from[i * column];
    }
  }
  const T sum = ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
                ((sums[1] + sums[5]) + (sums[3] + sums[7]));
  return sum / (static_cast<T>(call.channels) * static_cast<T>(call.height) *
                static_cast<T>(call.width));
}

template <typename T, int kSide>
void AugmentImages(const AugmentCall<T>& call) {
  constexpr int kTaps = kSide * kSide;
  TapTable<T, kSide> table(call);
  const Pixels<const T> in = call.from;
  const Pixels<T> out = call.to;
  const int channels = call.channels, width = call.width;
  const T share = T(1) / static_cast<T>(channels);
  // Of a row: sampled channels, and what they have in common.
  std::vector<T> sampled(static_cast<size_t>(channels) * width);
  std::vector<T> common(width);
  for (int i = 0; i < call.images; ++i) {
    const ImageMap<T> map = MapOf(call, i);
    if (i == 0 || call.parameter_image != 0) {
      table.Fill(map, static_cast<int>(in.row), static_cast<int>(in.column));
    }
    const T* from = in.data + i * in.image;
    const T constant =
        map.colored
            ? map.image * ImageMean(call, from, in.channel, in.row, in.column) +
                  map.added
            : T(0);
    for (int y = 0; y < call.height; ++y) {
      const int* at = table.At(y);
      const T* weight = table.Weight(y);
      for (int c = 0; c < channels; ++c) {
        const T* plane = from + c * in.channel;
        T* row = sampled.data() + static_cast<size_t>(c) * width;
        for (int x = 0; x < width; ++x) {
          T value = weight[x] * plane[at[x]];
          for (int k = 1; k < kTaps; ++k) {
            value += weight[k * width + x] * plane[at[k * width + x]];
          }
          row[x] = value;
        }
      }
      if (map.colored) {
        const T* sum = table.Sum(y);
        for (int x = 0; x < width; ++x) {
          T whole = 0;
          for (int c = 0; c < channels; ++c) whole += sampled[c * width + x];
          common[x] = map.pixel * (whole * share) + sum[x] * constant;
        }
        for (int c = 0; c < channels; ++c) {
          T* row = sampled.data() + static_cast<size_t>(c) * width;
          for (int x = 0; x < width; ++x) row[x] = map.own * row[x] + common[x];
        }
      }
      T* to = out.data + i * out.image + y * out.row;
      for (int c = 0; c < channels; ++c) {
        const T* row = sampled.data() + static_cast<size_t>(c) * width;
        for (int x = 0; x < width; ++x) {
          to[c * out.channel + x * out.column] = row[x];
        }
      }
    }
  }
}

// Pixels of the result in their order, each adding to those that it taps: one
// thread alone may do so, and each of those sums in the order of its readers.
template <typename T, int kSide>
void AugmentGradients(const AugmentCall<T>& call) {
  constexpr int kTaps = kSide * kSide;
  TapTable<T, kSide> table(call);
  const Pixels<const T> in = call.from;
  const Pixels<T> out = call.to;
  const int channels = call.channels, width = call.width;
  const T share = T(1) / static_cast<T>(channels);
  std::vector<T> common(width);
  for (int i = 0; i < call.images; ++i) {
    const ImageMap<T> map = MapOf(call, i);
    if (i == 0 || call.parameter_image != 0) {
      table.Fill(map, static_cast<int>(out.row), static_cast<int>(out.column));
    }
    T* image = out.data + i * out.image;
    for (int c = 0; c < channels; ++c) {
      T* plane = image + c * out.channel;
      for (int y = 0; y < call.height; ++y) {
        for (int x = 0; x < width; ++x) plane[y * out.row + x * out.column] = 0;
      }
      for (int y = 0; y < call.height; ++y) {
        const T* from = in.data + i * in.image + c * in.channel + y * in.row;
        const int* at = table.At(y);
        const T* weight = table.Weight(y);
        for (int x = 0; x < width; ++x) {
          const T gradient = from[x * in.column];
          for (int k = 0; k < kTaps; ++k) {
            plane[at[k * width + x]] += weight[k * width + x] * gradient;
          }
        }
      }
    }
    if (!map.colored) continue;
    const T constant =
        map.image * ImageMean(call, image, out.channel, out.row, out.column);
    for (int y = 0; y < call.height; ++y) {
      T* row = image + y * out.row;
      for (int x = 0; x < width; ++x) {
        T whole = 0;
        for (int c = 0; c < channels; ++c) {
          whole += row[c * out.channel + x * out.column];
        }
        common[x] = map.pixel * (whole * share) + constant;
      }
      for (int c = 0; c < channels; ++c) {
        for (int x = 0; x < width; ++x) {
          T& value = row[c * out.channel + x * out.column];
          value = map.own * value + common[x];
        }
      }
    }
  }
}

}  // namespace

template <typename T>
void Augment(const AugmentCall<T>& call) {
  call.Samples() ? AugmentImages<T, 2>(call) : AugmentImages<T, 1>(call);
}

template <typename T>
void AugmentAdjoint(const AugmentCall<T>& call) {
  call.Samples() ? AugmentGradients<T, 2>(call) : AugmentGradients<T, 1>(call);
}

template void Augment(const AugmentCall<float>&);
template void Augment(const AugmentCall<double>&);
template void AugmentAdjoint(const AugmentCall<float>&);
template void AugmentAdjoint(const AugmentCall<double>&);

}  // namespace dasm
