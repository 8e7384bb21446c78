#include "worker/engine/parameterization/multi_formation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"

namespace dasm {
namespace {

// Distinct values in [0, 1).
at::Tensor Images(int64_t n, int64_t channels, int64_t height, int64_t width) {
  const int64_t count = n * channels * height * width;
  return at::remainder(at::arange(count, at::kDouble) * 0.6180339887498949, 1.0)
      .view({n, channels, height, width});
}

// The definition, one output pixel at a time: bilinear interpolation of a tile
// at (i + 0.5) * tile / side - 0.5, clamped to the tile.
double Direct(const at::Tensor& stored, int factor, int64_t decoded,
              int64_t channel, int64_t i, int64_t j) {
  const int64_t n = stored.size(0);
  const int64_t height = stored.size(2), width = stored.size(3);
  const int64_t th = (height + factor - 1) / factor;
  const int64_t tw = (width + factor - 1) / factor;
  const int64_t tile = decoded / n;
  const auto value = [&](int64_t y, int64_t x) {
    y += tile / factor * th;
    x += tile % factor * tw;
    return y < height && x < width
               ? stored[decoded % n][channel][y][x].item<double>()
               : 0.5;
  };
  const double y = std::max(0.0, (i + 0.5) * th / height - 0.5);
  const double x = std::max(0.0, (j + 0.5) * tw / width - 0.5);
  const int64_t y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x);
  const int64_t y1 = std::min(y0 + 1, th - 1), x1 = std::min(x0 + 1, tw - 1);
  const double dy = y - y0, dx = x - x0;
  return (1 - dy) * ((1 - dx) * value(y0, x0) + dx * value(y0, x1)) +
         dy * ((1 - dx) * value(y1, x0) + dx * value(y1, x1));
}

void ExpectDirect(const at::Tensor& stored, int factor) {
  const at::Tensor decoded = MultiFormation(factor).Decode(stored);
  ASSERT_EQ(decoded.size(0), stored.size(0) * factor * factor);
  ASSERT_EQ(decoded.sizes().slice(1), stored.sizes().slice(1));
  for (int64_t d = 0; d < decoded.size(0); ++d) {
    for (int64_t c = 0; c < decoded.size(1); ++c) {
      for (int64_t i = 0; i < decoded.size(2); ++i) {
        for (int64_t j = 0; j < decoded.size(3); ++j) {
          ASSERT_NEAR(decoded[d][c][i][j].item<double>(),
                      Direct(stored, factor, d, c, i, j), 1e-12)
              << d << " " << c << " " << i << " " << j;
        }
      }
    }
  }
}

TEST(MultiFormation, DecodesByTheDefinition) {
  ExpectDirect(Images(2, 2, 8, 8), 2);
  ExpectDirect(Images(1, 1, 12, 9), 3);
}

TEST(MultiFormation, PadsASideThatTheFactorDoesNotDivide) {
  ExpectDirect(Images(2, 1, 8, 8), 3);
  ExpectDirect(Images(1, 1, 7, 10), 2);
}

TEST(MultiFormation, FactorOneIsTheIdentity) {
  const at::Tensor stored = Images(2, 1, 4, 4);
  EXPECT_TRUE(MultiFormation(1).Decode(stored).is_same(stored));
}

TEST(MultiFormation, LabelsFollowTheTiles) {
  const at::Tensor labels = at::arange(3, at::kLong);
  const at::Tensor decoded = MultiFormation(2).DecodeLabels(labels);
  ASSERT_EQ(decoded.size(0), 12);
  for (int64_t i = 0; i < 12; ++i) {
    EXPECT_EQ(decoded[i].item<int64_t>(), i % 3);
  }
}

}  // namespace
}  // namespace dasm
