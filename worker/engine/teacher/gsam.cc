#include "worker/engine/teacher/gsam.h"

#include <ATen/ATen.h>

namespace dasm {
namespace {

constexpr double kTiny = 1e-12;

at::Tensor Dot(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum(at::kDouble);
}

at::Tensor Length(const at::Tensor& a) { return Dot(a, a).sqrt(); }

}  // namespace

at::Tensor GsamAscent(const at::Tensor& w, const at::Tensor& g, double rho) {
  const at::Tensor scaled = w * g;  // |w| g, but for its signs
  const at::Tensor factor = rho / (Length(scaled) + kTiny);
  return w + w * scaled * factor.to(w.scalar_type());
}

at::Tensor GsamDirection(const at::Tensor& g, const at::Tensor& ascent_g,
                         double alpha) {
  const at::Tensor length = Length(g);
  const at::Tensor ascent_length = Length(ascent_g);
  const at::Tensor cosine = Dot(g, ascent_g) / (ascent_length * length + kTiny);
  const at::Tensor along = cosine * length / (ascent_length + kTiny);
  // d = g' - alpha (g - along g')
  const at::Tensor weight = (along * alpha + 1).to(g.scalar_type());
  return ascent_g * weight - g * alpha;
}

}  // namespace dasm
