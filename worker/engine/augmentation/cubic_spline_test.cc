#include "worker/engine/augmentation/cubic_spline.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace dasm {
namespace {

Plane Waves() {
  Plane plane = {4, 5, {}};
  for (int i = 0; i < 20; ++i) {
    plane.pixels.push_back(std::sin(i * i * 0.37 + 1.7 * i));
  }
  return plane;
}

// scipy.ndimage.rotate(waves, angle, cval=0.25) of SciPy 1.17.1, printed with
// twelve digits.
TEST(CubicSpline, RotatesAsSciPyDoes) {
  const Plane by30 = RotateBySpline(Waves(), 30, 0.25);
  ASSERT_EQ(by30.height, 6);
  ASSERT_EQ(by30.width, 6);
  const std::vector<double> expected30 = {0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.499271080598,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.491729637910,
                                          -0.979660499360,
                                          -0.752352203127,
                                          0.770567784052,
                                          0.25,
                                          0.25,
                                          -0.985147247825,
                                          -0.222493277708,
                                          -0.962183664405,
                                          -0.118643482673,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.795526534504,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25,
                                          0.25};
  for (size_t i = 0; i < expected30.size(); ++i) {
    EXPECT_NEAR(by30.pixels[i], expected30[i], 1e-11) << i;
  }
  const Plane by13 = RotateBySpline(Waves(), -13, 0.25);
  ASSERT_EQ(by13.height, 5);
  ASSERT_EQ(by13.width, 6);
  const std::vector<double> expected13 = {-0.769494831206,
                                          -0.544783950857,
                                          -0.785854779556,
                                          0.788284140490,
                                          0.25,
                                          0.25,
                                          -0.159808977975,
                                          -0.568547583238,
                                          -0.887056313935,
                                          0.422599194551};
  for (size_t i = 0; i < expected13.size(); ++i) {
    EXPECT_NEAR(by13.pixels[7 + i], expected13[i], 1e-11) << i;
  }
}

TEST(CubicSpline, NoRotationReproducesEveryPixel) {
  const Plane same = RotateBySpline(Waves(), 0, 0.25);
  ASSERT_EQ(same.height, 4);
  ASSERT_EQ(same.width, 5);
  for (int i = 0; i < 20; ++i) {
    EXPECT_NEAR(same.pixels[i], Waves().pixels[i], 1e-13);
  }
}

}  // namespace
}  // namespace dasm
