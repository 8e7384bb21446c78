// Surrogate-gap-guided sharpness-aware minimisation (Zhuang et al. 2022, the
// adaptive form of FTD, DATM and PAD): experts of flat trajectories. A step
// takes two gradients of one batch:
//   g  = grad L(w)
//   e  = rho w^2 g / (|| |w| g || + 1e-12)
//   g' = grad L(w + e)
//   c  = <g, g'> / (||g'|| ||g|| + 1e-12)
//   v  = g - c ||g|| g' / (||g'|| + 1e-12)
//   d  = g' - alpha v,     w <- w - lr d
// Norms are over all parameters, summed in fp64. With rho 0 the direction is g
// up to the 1e-12 terms.
//
// Shapes: [P] each, of one device; nothing is read back.
#ifndef DASM_WORKER_ENGINE_TEACHER_GSAM_H_
#define DASM_WORKER_ENGINE_TEACHER_GSAM_H_

#include <ATen/core/Tensor.h>

namespace dasm {

// w + e: where the second gradient is taken.
at::Tensor GsamAscent(const at::Tensor& w, const at::Tensor& g, double rho);

// d, from both gradients.
at::Tensor GsamDirection(const at::Tensor& g, const at::Tensor& ascent_g,
                         double alpha);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TEACHER_GSAM_H_
