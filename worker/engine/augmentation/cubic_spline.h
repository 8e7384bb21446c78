// Rotation of a small picture by cubic B-spline interpolation, as
// scipy.ndimage.rotate does it (order 3, constant mode, enlarged canvas).
#ifndef DASM_WORKER_ENGINE_AUGMENTATION_CUBIC_SPLINE_H_
#define DASM_WORKER_ENGINE_AUGMENTATION_CUBIC_SPLINE_H_

#include <vector>

namespace dasm {

struct Plane {
  int height = 0;
  int width = 0;
  std::vector<double> pixels;  // row-major
};

// `plane` turned by `degrees` on a canvas that holds all of it; `fill` where no
// pixel comes from inside. `plane` is at least 2x2.
Plane RotateBySpline(const Plane& plane, double degrees, double fill);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_AUGMENTATION_CUBIC_SPLINE_H_
