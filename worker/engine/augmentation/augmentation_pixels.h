// The arithmetic of one augmented image, pixel by pixel: for the host's kernel
// and for a device's.
//
// An augmentation (augmentation.h) is an affine map of the picture. Pixel
// (y, x) of the result is
//
//   0 in the cutout, else  sum over its taps k of w_k color(picture at k)
//
// Taps lie in the picture, mirrored first where it is flipped: one where
// nothing or a shift moves the pixel (kSide = 1), the four around a place
// between pixels where it is scaled or rotated (kSide = 2); what lies outside
// has no weight. With brightness b, saturation s, contrast t, the pixel's mean
// over the channels m and the image's mean M,
//
//   color(x)_c = t s x_c + t (1 - s) m + (1 - t) M + b
//
// which is brightness, then saturation around m, then contrast around the mean
// of what that gives (M + b). Being affine it commutes with sampling: it is
// taken once a pixel of the result, its constant (1 - t) M + b as often as the
// weights of the taps say. Its linear part is symmetric and commutes with the
// mirror. So the adjoint of the whole is: each pixel of the picture sums what
// the pixels that tap it bring, then come the linear part of color and no
// constant.
//
// Neither torch nor CUDA.
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_PIXELS_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_PIXELS_H_

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define DASM_PIXEL __host__ __device__ __forceinline__
#else
#define DASM_PIXEL inline
#endif

namespace dasm {

// What a plan asks for, as the bits of a number.
enum AugmentationBit : int64_t {
  kFlipBit = 1,
  kColorBit = 2,
  kCropBit = 4,  // at most one of kCropBit, kScaleBit, kRotateBit
  kScaleBit = 8,
  kRotateBit = 16,
  kCutoutBit = 32,
  kAlignedBit = 64,  // align_corners
  kLinearBit = 128,  // without the constant b
};

// The rows of AugmentationDraw::Parameters().
enum AugmentationRow : int {
  kFlipRow,
  kBrightnessRow,
  kSaturationRow,
  kContrastRow,
  kShiftYRow,
  kShiftXRow,
  kCutoutYRow,
  kCutoutXRow,
  kScaleYRow,
  kScaleXRow,
  kAngleRow,
  kAugmentationRows,
};

// Sides of the square that is cut out.
constexpr double kCutoutRatio = 0.5;
DASM_PIXEL int RoundedShare(double ratio, int side) {
  return static_cast<int>(ratio * side + 0.5);
}

// Images anywhere: where they begin, and the steps from one to the next image,
// channel, row and column, in elements.
template <typename T>
struct Pixels {
  T* data = nullptr;
  int64_t image = 0;
  int64_t channel = 0;
  int64_t row = 0;
  int64_t column = 0;

  DASM_PIXEL T& At(int i, int c, int y, int x) const {
    return data[i * image + c * channel + y * row + x * column];
  }
};

// Images to augment, or gradients to take back. `to` overlaps nothing.
template <typename T>
struct AugmentCall {
  int64_t plan = 0;  // of AugmentationBit
  int images = 0;
  int channels = 0;
  int height = 0;
  int width = 0;
  // [kAugmentationRows, images or 1]: the steps from row to row and from image
  // to image, the latter 0 where all images share one column.
  const double* parameters = nullptr;
  int64_t parameter_row = 0;
  int64_t parameter_image = 0;
  Pixels<const T> from;
  Pixels<T> to;

  DASM_PIXEL double Parameter(AugmentationRow row, int image) const {
    return parameters[row * parameter_row + image * parameter_image];
  }
  DASM_PIXEL bool Has(int64_t bits) const { return (plan & bits) != 0; }
  // Whether pixels are taken from between others: kSide = 2.
  DASM_PIXEL bool Samples() const { return Has(kScaleBit | kRotateBit); }
};

// What the parameters of an image make of it.
template <typename T>
struct ImageMap {
  int height = 0;
  int width = 0;
  bool mirrored = false;

  // color(x)_c = own x_c + pixel m + image M + added
  bool colored = false;
  T own = 1;
  T pixel = 0;
  T image = 0;
  T added = 0;

  // kSide = 1: (y, x) shows (y + shift_y, x + shift_x).
  int shift_y = 0;
  int shift_x = 0;
  // kSide = 2: about the centre, (y, x) shows (yy y + yx x, xy y + xx x), and
  // back.
  T centre_y = 0;
  T centre_x = 0;
  T xx = 1, xy = 0, yx = 0, yy = 1;
  T back_xx = 1, back_xy = 0, back_yx = 0, back_yy = 1;

  // The cutout; empty without one.
  int top = 0, bottom = 0, left = 0, right = 0;

  DASM_PIXEL bool CutOut(int y, int x) const {
    return (y >= top) & (y < bottom) & (x >= left) & (x < right);
  }
  DASM_PIXEL int Mirrored(int x) const { return mirrored ? width - 1 - x : x; }
  // Where (y, x) looks at.
  DASM_PIXEL T Row(int y, int x) const {
    const T dy = static_cast<T>(y) - centre_y,
            dx = static_cast<T>(x) - centre_x;
    return centre_y + (yy * dy + yx * dx);
  }
  DASM_PIXEL T Column(int y, int x) const {
    const T dy = static_cast<T>(y) - centre_y,
            dx = static_cast<T>(x) - centre_x;
    return centre_x + (xy * dy + xx * dx);
  }
};

// Half a picture's side in the coordinates of the sampling grid [-1, 1].
DASM_PIXEL double HalfSide(int side, bool aligned) {
  return 0.5 * (aligned ? side - 1 : side);
}

template <typename T>
DASM_PIXEL ImageMap<T> MapOf(const AugmentCall<T>& call, int image) {
  ImageMap<T> map;
  map.height = call.height;
  map.width = call.width;
  map.mirrored = call.Has(kFlipBit) && call.Parameter(kFlipRow, image) != 0;
  if (call.Has(kColorBit)) {
    const double s = call.Parameter(kSaturationRow, image);
    const double t = call.Parameter(kContrastRow, image);
    map.colored = true;
    map.own = static_cast<T>(t * s);
    map.pixel = static_cast<T>(t * (1 - s));
    map.image = static_cast<T>(1 - t);
    if (!call.Has(kLinearBit)) {
      map.added = static_cast<T>(call.Parameter(kBrightnessRow, image));
    }
  }
  if (call.Has(kCropBit)) {
    map.shift_y = static_cast<int>(call.Parameter(kShiftYRow, image));
    map.shift_x = static_cast<int>(call.Parameter(kShiftXRow, image));
  }
  if (call.Samples()) {
    double xx, xy = 0, yx = 0, yy;
    if (call.Has(kScaleBit)) {
      xx = call.Parameter(kScaleXRow, image);
      yy = call.Parameter(kScaleYRow, image);
    } else {
      const double angle = call.Parameter(kAngleRow, image);
      const double half_x = HalfSide(call.width, call.Has(kAlignedBit));
      const double half_y = HalfSide(call.height, call.Has(kAlignedBit));
      xx = yy = std::cos(angle);
      // Turned in the grid, which is as high as it is wide. An aligned side of
      // one pixel has no extent.
      xy = half_y > 0 ? -std::sin(angle) * half_x / half_y : 0;
      yx = half_x > 0 ? std::sin(angle) * half_y / half_x : 0;
    }
    const double determinant = xx * yy - xy * yx;
    map.centre_y = static_cast<T>(0.5 * (call.height - 1));
    map.centre_x = static_cast<T>(0.5 * (call.width - 1));
    map.xx = static_cast<T>(xx);
    map.xy = static_cast<T>(xy);
    map.yx = static_cast<T>(yx);
    map.yy = static_cast<T>(yy);
    map.back_xx = static_cast<T>(yy / determinant);
    map.back_xy = static_cast<T>(-xy / determinant);
    map.back_yx = static_cast<T>(-yx / determinant);
    map.back_yy = static_cast<T>(xx / determinant);
  }
  if (call.Has(kCutoutBit)) {
    const int rows = RoundedShare(kCutoutRatio, call.height);
    const int columns = RoundedShare(kCutoutRatio, call.width);
    map.top = static_cast<int>(call.Parameter(kCutoutYRow, image)) - rows / 2;
    map.bottom = map.top + rows;
    map.left =
        static_cast<int>(call.Parameter(kCutoutXRow, image)) - columns / 2;
    map.right = map.left + columns;
  }
  return map;
}

// The pixels of the picture that one of the result taps: tap
// kSide i + j is (row[i], column[j]). All lie in the picture; those that should
// not have no weight.
template <typename T, int kSide>
struct Taps {
  int row[kSide];
  int column[kSide];
  T weight[kSide * kSide];
};

DASM_PIXEL int Clamped(int at, int side) {
  const int low = at < 0 ? 0 : at;
  return low < side ? low : side - 1;
}

// Without branches, so that a loop over it may be done in vectors.
template <int kSide, typename T>
DASM_PIXEL Taps<T, kSide> TapsOf(const ImageMap<T>& map, int y, int x) {
  const T shown = map.CutOut(y, x) ? T(0) : T(1);
  int top, left;
  T by_row[kSide], by_column[kSide];
  if constexpr (kSide == 1) {
    top = y + map.shift_y;
    left = x + map.shift_x;
    by_row[0] = shown;
    by_column[0] = 1;
  } else {
    const T v = map.Row(y, x);
    const T u = map.Column(y, x);
    top = static_cast<int>(v);
    left = static_cast<int>(u);
    top -= v < static_cast<T>(top) ? 1 : 0;
    left -= u < static_cast<T>(left) ? 1 : 0;
    // Hat at 0 <= v - top < 1, and at 1 more.
    by_row[0] = (1 - (v - static_cast<T>(top))) * shown;
    by_row[1] = (1 - (static_cast<T>(top + 1) - v)) * shown;
    by_column[0] = 1 - (u - static_cast<T>(left));
    by_column[1] = 1 - (static_cast<T>(left + 1) - u);
  }
  Taps<T, kSide> taps;
  for (int i = 0; i < kSide; ++i) {
    const int row = top + i, column = left + i;
    taps.row[i] = Clamped(row, map.height);
    const int inside = Clamped(column, map.width);
    taps.column[i] = map.mirrored ? map.width - 1 - inside : inside;
    by_row[i] = taps.row[i] == row ? by_row[i] : T(0);
    by_column[i] = inside == column ? by_column[i] : T(0);
  }
  for (int i = 0; i < kSide; ++i) {
    for (int j = 0; j < kSide; ++j) {
      taps.weight[kSide * i + j] = by_row[i] * by_column[j];
    }
  }
  return taps;
}

// The first whole number that is not below `at`, and the last that is not above
// it, as far as they are in [0, side - 1].
template <typename T>
DASM_PIXEL int FirstAt(T at, int side) {
  if (!(at > 0)) return 0;
  if (at >= static_cast<T>(side)) return side;
  const int whole = static_cast<int>(at);
  return static_cast<T>(whole) < at ? whole + 1 : whole;
}
template <typename T>
DASM_PIXEL int LastAt(T at, int side) {
  if (at < 0) return -1;
  return at < static_cast<T>(side - 1) ? static_cast<int>(at) : side - 1;
}

template <typename T>
DASM_PIXEL T Magnitude(T value) {
  return value < 0 ? -value : value;
}

// max(0, 1 - |distance|)
template <typename T>
DASM_PIXEL T Hat(T distance) {
  const T weight = 1 - Magnitude(distance);
  return weight > 0 ? weight : T(0);
}

// read(y, x, weight) for the pixels of the result that tap pixel (row, column)
// of the picture, and maybe some with weight 0, row by row.
template <int kSide, typename T, typename Read>
DASM_PIXEL void ForEachReader(const ImageMap<T>& map, int row, int column,
                              const Read& read) {
  const int shown = map.Mirrored(column);
  if constexpr (kSide == 1) {
    const int y = row - map.shift_y;
    const int x = shown - map.shift_x;
    if (y < 0 || y >= map.height || x < 0 || x >= map.width) return;
    if (!map.CutOut(y, x)) read(y, x, T(1));
  } else {
    // Those that look at the square of two pixels a side around it, and a
    // little more than rounding may add.
    constexpr T kSlack = static_cast<T>(0.01);
    const T dy = static_cast<T>(row) - map.centre_y;
    const T dx = static_cast<T>(shown) - map.centre_x;
    const T y = map.centre_y + (map.back_yy * dy + map.back_yx * dx);
    const T x = map.centre_x + (map.back_xy * dy + map.back_xx * dx);
    const T rows = Magnitude(map.back_yy) + Magnitude(map.back_yx) + kSlack;
    const T columns = Magnitude(map.back_xx) + Magnitude(map.back_xy) + kSlack;
    const int bottom = LastAt(y + rows, map.height);
    const int right = LastAt(x + columns, map.width);
    for (int i = FirstAt(y - rows, map.height); i <= bottom; ++i) {
      for (int j = FirstAt(x - columns, map.width); j <= right; ++j) {
        if (map.CutOut(i, j)) continue;
        read(i, j,
             Hat(map.Row(i, j) - static_cast<T>(row)) *
                 Hat(map.Column(i, j) - static_cast<T>(shown)));
      }
    }
  }
}

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_AUGMENTATION_PIXELS_H_
