// What a network costs to run, from its layer shapes.
//
// Layers are counted at the size they have on the data set's images, so each
// network is described layer by layer: convolutions and linear layers at two
// FLOPs a multiply-add, everything else as memory only. ConvNet-3 of width 128
// with ten classes: 50.7 M multiply-adds an image at 3 x 32 x 32, 48.4 M at
// 1 x 28 x 28 (padded to 32 by the first convolution). The networks are those
// of MTT and its successors, with their changes for 64 pixels a side:
//   mlp        two hidden layers of 128
//   lenet      5 x 5 convolutions of 6 and 16, linear 120 and 84
//   alexnet    the 32-pixel form, no norm
//   vgg11      a norm after every convolution
//   resnet18   3 x 3 stem, four stages of two basic blocks; the -ap variant
//              pools where it has strides and has no global pool
#ifndef DASM_SERVER_PLANNER_NETWORK_COST_H_
#define DASM_SERVER_PLANNER_NETWORK_COST_H_

#include <cstdint>

#include "common/spec/job_spec.h"

namespace dasm {

struct NetworkCost {
  double forward_flops = 0;  // an image
  int64_t parameters = 0;
  // Of them: the kernels of convolutions, and those with all other weights that
  // have more than one dimension.
  int64_t convolution_weights = 0;
  int64_t weights = 0;
  int64_t tensors = 0;  // that hold the parameters
  int64_t buffers = 0;  // BatchNorm statistics
  // Floats an image that a training step keeps: the outputs of convolutions,
  // linear layers, norms, ReLUs, poolings and sums.
  int64_t activations = 0;
  // Floats an image of the largest layer.
  int64_t largest_layer = 0;
};

// `network` is a validated one (NetworkSpec.name).
NetworkCost CostOf(const NetworkSpec& network, int channels, int height,
                   int width, int classes);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_NETWORK_COST_H_
