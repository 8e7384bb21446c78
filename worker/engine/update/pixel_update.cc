#include "worker/engine/update/pixel_update.h"

#include <ATen/ATen.h>

namespace dasm {

double ImageLearningRate(const GradientMatchingSpec& spec, int images_per_class,
                         int64_t size) {
  if (!spec.scale_learning_rate) return spec.image_learning_rate;
  const double scale = static_cast<double>(size) / spec.base_size;
  return spec.image_learning_rate * (images_per_class / 10.0) * scale * scale;
}

PixelUpdate::PixelUpdate(double learning_rate, double momentum, int classes) {
  // A product rather than pow(): the same bits with every C library.
  decay_ = 1.0;
  for (int c = 0; c < classes; ++c) decay_ *= momentum;
  rate_ = learning_rate * (1.0 - decay_) / (1.0 - momentum);
}

at::Tensor PixelUpdate::Step(const at::Tensor& gradient, at::Tensor* pixels,
                             at::Tensor* velocity) const {
  velocity->mul_(decay_).add_(gradient);
  const at::Tensor move = *velocity * rate_;
  pixels->sub_(move);
  return move.abs().max();
}

}  // namespace dasm
