// What a ConvNet costs to run, from its layer shapes.
//
// Block i of a ConvNet on s x s pixels works at side s_i = s / 2^i:
//   convolution  in_i * W * 9 * s_i^2 multiply-adds, in_0 = channels, else W
//   classifier   features * classes, features = W * (s / 2^depth)^2
// A forward pass is two FLOPs a multiply-add. ConvNet-3 of width 128 with ten
// classes: 50.7 M multiply-adds an image at 3 x 32 x 32, 48.4 M at 1 x 28 x 28
// (padded to 32 by the first convolution).
#ifndef DASM_SERVER_PLANNER_NETWORK_COST_H_
#define DASM_SERVER_PLANNER_NETWORK_COST_H_

#include <cstdint>

#include "common/spec/job_spec.h"

namespace dasm {

struct NetworkCost {
  double forward_flops = 0;  // an image
  int64_t parameters = 0;
  int64_t buffers = 0;  // BatchNorm statistics
  // Floats an image that a training step keeps: per block the outputs of
  // convolution, norm, ReLU and pooling.
  int64_t activations = 0;
  // Floats an image of the largest layer.
  int64_t largest_layer = 0;
};

NetworkCost CostOf(const NetworkSpec& network, int channels, int height,
                   int width, int classes);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_NETWORK_COST_H_
