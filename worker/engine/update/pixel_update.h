// How stored pixels move: IDC's SGD with momentum in the closed form that makes
// class order irrelevant, and its learning rate.
#ifndef DASM_WORKER_ENGINE_UPDATE_PIXEL_UPDATE_H_
#define DASM_WORKER_ENGINE_UPDATE_PIXEL_UPDATE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "common/spec/job_spec.h"

namespace dasm {

// base * (n / 10) * (size / base_size)^2 where the spec scales it, else base.
// `images_per_class` is the segment's, `size` the image height in pixels.
double ImageLearningRate(const GradientMatchingSpec& spec, int images_per_class,
                         int64_t size);

// IDC's optimiser holds all classes and steps once a class, so that a class's
// velocity goes on moving its pixels while the others have their turn. Per
// class and pass that is exactly
//   b <- m^C b + g;  x <- x - lr b (1 - m^C) / (1 - m)
// apart from what the last classes of a pass would still have got.
class PixelUpdate {
 public:
  // momentum in [0, 1).
  PixelUpdate(double learning_rate, double momentum, int classes);

  // Updates `pixels` and `velocity` in place; all three of one shape. Rows
  // without a gradient (zeros) take their momentum step too. Returns the
  // largest move of a pixel, [], where the pixels are.
  at::Tensor Step(const at::Tensor& gradient, at::Tensor* pixels,
                  at::Tensor* velocity) const;

 private:
  double decay_;  // m^C
  double rate_;   // lr (1 - m^C) / (1 - m)
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_UPDATE_PIXEL_UPDATE_H_
