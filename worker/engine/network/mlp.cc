#include "worker/engine/network/mlp.h"

#include <ATen/ATen.h>

namespace dasm {
namespace {

constexpr int64_t kHidden = 128;

}  // namespace

Mlp::Mlp(ImageShape image_shape, int classes)
    : LayeredNetwork(Norm::kNone, image_shape, classes) {
  AddLinear("hidden0", kHidden, image_shape.elements());
  AddLinear("hidden1", kHidden, kHidden);
  AddClassifier(kHidden);
}

at::Tensor Mlp::Features(const at::Tensor& images, LayerPass* pass) const {
  const at::Tensor first = pass->Linear(images.flatten(1)).relu_();
  return pass->Linear(first).relu_();
}

}  // namespace dasm
