#include "worker/engine/augmentation/augmentation_kernel.h"

#include <vector>

namespace dasm {
namespace {

// Taps as distances from an image's first element, and the sum of their
// weights.
template <typename T, int kSide>
struct TableEntry {
  int64_t at[kSide * kSide];
  T weight[kSide * kSide];
  T sum;
};

// The taps of each pixel of the result, by rows, in a picture whose rows and
// columns are so far apart.
template <typename T, int kSide>
void FillTable(const ImageMap<T>& map, int64_t row, int64_t column,
               std::vector<TableEntry<T, kSide>>* table) {
  TableEntry<T, kSide>* entry = table->data();
  for (int y = 0; y < map.height; ++y) {
    for (int x = 0; x < map.width; ++x, ++entry) {
      const Taps<T, kSide> taps = TapsOf<kSide>(map, y, x);
      entry->sum = 0;
      for (int k = 0; k < kSide * kSide; ++k) {
        entry->at[k] =
            taps.row[k / kSide] * row + taps.column[k % kSide] * column;
        entry->weight[k] = taps.weight[k];
        entry->sum += taps.weight[k];
      }
    }
  }
}

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
  std::vector<TableEntry<T, kSide>> table(static_cast<size_t>(call.height) *
                                          call.width);
  std::vector<T> sampled(call.channels);
  const Pixels<const T> in = call.from;
  const Pixels<T> out = call.to;
  const int channels = call.channels;
  const T share = T(1) / static_cast<T>(channels);
  for (int i = 0; i < call.images; ++i) {
    const ImageMap<T> map = MapOf(call, i);
    if (i == 0 || call.parameter_image != 0) {
      FillTable(map, in.row, in.column, &table);
    }
    const T* from = in.data + i * in.image;
    const T constant =
        map.colored
            ? map.image * ImageMean(call, from, in.channel, in.row, in.column) +
                  map.added
            : T(0);
    const TableEntry<T, kSide>* entry = table.data();
    for (int y = 0; y < call.height; ++y) {
      T* to = out.data + i * out.image + y * out.row;
      for (int x = 0; x < call.width; ++x, ++entry, to += out.column) {
        const auto sample = [&](int c) {
          const T* plane = from + c * in.channel;
          T value = entry->weight[0] * plane[entry->at[0]];
          for (int k = 1; k < kSide * kSide; ++k) {
            value += entry->weight[k] * plane[entry->at[k]];
          }
          return value;
        };
        if (!map.colored) {
          for (int c = 0; c < channels; ++c) to[c * out.channel] = sample(c);
          continue;
        }
        T sum = 0;
        for (int c = 0; c < channels; ++c) {
          sampled[c] = sample(c);
          sum += sampled[c];
        }
        const T common = map.pixel * (sum * share) + entry->sum * constant;
        for (int c = 0; c < channels; ++c) {
          to[c * out.channel] = map.own * sampled[c] + common;
        }
      }
    }
  }
}

// Pixels of the result in their order, each adding to those that it taps: one
// thread alone may do so, and each of those sums in the order of its readers.
template <typename T, int kSide>
void AugmentGradients(const AugmentCall<T>& call) {
  std::vector<TableEntry<T, kSide>> table(static_cast<size_t>(call.height) *
                                          call.width);
  const Pixels<const T> in = call.from;
  const Pixels<T> out = call.to;
  const int channels = call.channels;
  const T share = T(1) / static_cast<T>(channels);
  const auto for_each_pixel = [&](T* image, const auto& visit) {
    for (int y = 0; y < call.height; ++y) {
      T* pixel = image + y * out.row;
      for (int x = 0; x < call.width; ++x, pixel += out.column) visit(pixel);
    }
  };
  for (int i = 0; i < call.images; ++i) {
    const ImageMap<T> map = MapOf(call, i);
    if (i == 0 || call.parameter_image != 0) {
      FillTable(map, out.row, out.column, &table);
    }
    T* image = out.data + i * out.image;
    for (int c = 0; c < channels; ++c) {
      T* plane = image + c * out.channel;
      for_each_pixel(plane, [](T* pixel) { *pixel = 0; });
      const TableEntry<T, kSide>* entry = table.data();
      for (int y = 0; y < call.height; ++y) {
        const T* from = in.data + i * in.image + c * in.channel + y * in.row;
        for (int x = 0; x < call.width; ++x, ++entry, from += in.column) {
          for (int k = 0; k < kSide * kSide; ++k) {
            plane[entry->at[k]] += entry->weight[k] * *from;
          }
        }
      }
    }
    if (!map.colored) continue;
    const T constant =
        map.image * ImageMean(call, image, out.channel, out.row, out.column);
    for_each_pixel(image, [&](T* pixel) {
      T sum = 0;
      for (int c = 0; c < channels; ++c) sum += pixel[c * out.channel];
      const T common = map.pixel * (sum * share) + constant;
      for (int c = 0; c < channels; ++c) {
        T& value = pixel[c * out.channel];
        value = map.own * value + common;
      }
    });
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
