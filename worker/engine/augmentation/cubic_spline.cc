#include "worker/engine/augmentation/cubic_spline.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace dasm {
namespace {

// Turns samples into B-spline coefficients in place, by the recursive filter of
// Unser (1999) with its pole sqrt(3) - 2 and mirrored ends.
void Prefilter(double* line, int size, int stride) {
  const double pole = std::sqrt(3.0) - 2.0;
  const double gain = (1 - pole) * (1 - 1 / pole);
  const auto at = [&](int i) -> double& { return line[i * stride]; };
  for (int i = 0; i < size; ++i) at(i) *= gain;
  // The exact sum over the mirrored, periodic signal.
  double power = pole;
  const double last_power = std::pow(pole, size - 1);
  double back = last_power * last_power;
  double sum = at(0) + last_power * at(size - 1);
  for (int i = 1; i < size - 1; ++i) {
    back /= pole;
    sum += (power + back) * at(i);
    power *= pole;
  }
  at(0) = sum / (1 - last_power * last_power);
  for (int i = 1; i < size; ++i) at(i) += pole * at(i - 1);
  at(size - 1) =
      pole / (pole * pole - 1) * (at(size - 1) + pole * at(size - 2));
  for (int i = size - 2; i >= 0; --i) at(i) = pole * (at(i + 1) - at(i));
}

// Cubic B-spline weights of the four nodes floor(x) - 1 .. floor(x) + 2.
std::array<double, 4> Weights(double x) {
  const double t = x - std::floor(x);
  const double u = 1 - t;
  return {u * u * u / 6, (4 - 6 * t * t + 3 * t * t * t) / 6,
          (4 - 6 * u * u + 3 * u * u * u) / 6, t * t * t / 6};
}

int Mirror(int i, int size) {
  const int period = 2 * (size - 1);
  i = std::abs(i) % period;
  return i < size ? i : period - i;
}

}  // namespace

Plane RotateBySpline(const Plane& plane, double degrees, double fill) {
  const double radians = degrees * M_PI / 180;
  const double c = std::cos(radians);
  const double s = std::sin(radians);
  const int h = plane.height;
  const int w = plane.width;

  Plane coefficients = plane;
  for (int y = 0; y < h; ++y) Prefilter(&coefficients.pixels[y * w], w, 1);
  for (int x = 0; x < w; ++x) Prefilter(&coefficients.pixels[x], h, w);

  const auto extent = [](double p, double q) {
    const auto [low, high] = std::minmax({0.0, p, q, p + q});
    return static_cast<int>(high - low + 0.5);
  };
  Plane out;
  out.height = extent(c * h, s * w);
  out.width = extent(-s * h, c * w);
  out.pixels.resize(static_cast<size_t>(out.height) * out.width);
  // Output (i, j) shows input (c i + s j, -s i + c j) + offset.
  const double middle_y = (out.height - 1) / 2.0;
  const double middle_x = (out.width - 1) / 2.0;
  const double offset_y = (h - 1) / 2.0 - (c * middle_y + s * middle_x);
  const double offset_x = (w - 1) / 2.0 - (-s * middle_y + c * middle_x);
  for (int i = 0; i < out.height; ++i) {
    for (int j = 0; j < out.width; ++j) {
      const double y = c * i + s * j + offset_y;
      const double x = -s * i + c * j + offset_x;
      double& pixel = out.pixels[i * out.width + j];
      if (y < 0 || y > h - 1 || x < 0 || x > w - 1) {
        pixel = fill;
        continue;
      }
      const auto wy = Weights(y);
      const auto wx = Weights(x);
      const int top = static_cast<int>(std::floor(y)) - 1;
      const int left = static_cast<int>(std::floor(x)) - 1;
      pixel = 0;
      for (int dy = 0; dy < 4; ++dy) {
        const double* row = &coefficients.pixels[Mirror(top + dy, h) * w];
        for (int dx = 0; dx < 4; ++dx) {
          pixel += wy[dy] * wx[dx] * row[Mirror(left + dx, w)];
        }
      }
    }
  }
  return out;
}

}  // namespace dasm
