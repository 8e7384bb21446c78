#include "server/planner/network_cost.h"

#include <algorithm>

namespace dasm {

NetworkCost CostOf(const NetworkSpec& network, int channels, int height,
                   int width, int classes) {
  NetworkCost cost;
  const bool padded = channels == 1 && height == 28 && width == 28;
  int64_t h = padded ? 32 : height;
  int64_t w = padded ? 32 : width;
  const int64_t filters = network.width;
  int64_t in = channels;
  double multiply_adds = 0;
  for (int i = 0; i < network.depth; ++i) {
    const int64_t pixels = h * w;
    multiply_adds += static_cast<double>(in * filters * 9 * pixels);
    cost.parameters += in * filters * 9 + filters;
    if (network.norm != Norm::kNone) cost.parameters += 2 * filters;
    if (network.norm == Norm::kBatch) cost.buffers += 2 * filters;
    h /= 2;
    w /= 2;
    const int kept = network.norm == Norm::kNone ? 2 : 3;
    cost.activations += filters * (kept * pixels + h * w);
    cost.largest_layer = std::max(cost.largest_layer, filters * pixels);
    in = filters;
  }
  const int64_t features = filters * h * w;
  multiply_adds += static_cast<double>(features * classes);
  cost.parameters += features * classes + classes;
  cost.forward_flops = 2 * multiply_adds;
  return cost;
}

}  // namespace dasm
