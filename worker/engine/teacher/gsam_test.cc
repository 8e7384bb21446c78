#include "worker/engine/teacher/gsam.h"

#include <ATen/ATen.h>

#include <cmath>

#include "gtest/gtest.h"

namespace dasm {
namespace {

at::Tensor Vector(std::vector<double> values) {
  return at::tensor(values, at::kDouble);
}

void ExpectClose(const at::Tensor& value, const at::Tensor& expected,
                 double tolerance) {
  EXPECT_LT((value - expected).abs().max().item<double>(), tolerance)
      << value << expected;
}

TEST(Gsam, AscendsAlongTheWeightedGradient) {
  // |w| g = (6, 4), of length sqrt(52).
  const double factor = 0.5 / std::sqrt(52.0);
  ExpectClose(GsamAscent(Vector({2, -1}), Vector({3, 4}), 0.5),
              Vector({2 + 4 * 3 * factor, -1 + 1 * 4 * factor}), 1e-10);
}

TEST(Gsam, DirectionLeavesTheSurrogateGapsPart) {
  // c = 24 / (5 * 5); the part of g orthogonal to g' is g - c g'.
  const double c = 24.0 / 25;
  const double vx = 3 - c * 4;
  const double vy = 4 - c * 3;
  ExpectClose(GsamDirection(Vector({3, 4}), Vector({4, 3}), 0.3),
              Vector({4 - 0.3 * vx, 3 - 0.3 * vy}), 1e-10);
  ExpectClose(GsamDirection(Vector({3, 4}), Vector({4, 3}), 0), Vector({4, 3}),
              1e-10);
}

TEST(Gsam, WithoutRhoIsTheGradient) {
  const at::Tensor w = at::linspace(-1, 1, 1000, at::kFloat);
  const at::Tensor g = at::sin(w * 7) * 0.01;
  EXPECT_TRUE(GsamAscent(w, g, 0).equal(w));
  ExpectClose(GsamDirection(g, g, 0.3), g, 1e-8);
}

TEST(Gsam, VanishingGradientsStayFinite) {
  const at::Tensor zero = at::zeros({4}, at::kFloat);
  EXPECT_TRUE(
      GsamAscent(at::ones({4}), zero, 0.01).isfinite().all().item<bool>());
  EXPECT_TRUE(GsamDirection(zero, zero, 0.3).isfinite().all().item<bool>());
}

}  // namespace
}  // namespace dasm
