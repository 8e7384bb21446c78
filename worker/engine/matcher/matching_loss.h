// The matching loss of trajectory matching (Cazenavette et al. 2022, eq. 2) and
// its derivative by the parameters that the student ended with:
//
//   L = sum_j (end_j - target_j)^2 / sum_j (start_j - target_j)^2
//
// over the parameters j that a mask keeps (PAD, Li et al. 2024: the first ones
// of the flat vector are dropped; its variant drops those with the smallest
// errors). Both sums leave out the same parameters. The student itself steps
// with all of them.
//
// Shapes: start, end, target [P], float32 or float64, on one device.
// Numerics: differences, squares and sums in float64, tensor after tensor of
//   the layout. Where the expert does not move, L is infinite or NaN.
#ifndef DASM_WORKER_ENGINE_MATCHER_MATCHING_LOSS_H_
#define DASM_WORKER_ENGINE_MATCHER_MATCHING_LOSS_H_

#include <ATen/core/Tensor.h>

#include "worker/engine/network/parameter_layout.h"

namespace dasm {

// What is left out: of P parameters those from floor(from P) to floor(to P),
// the latter excluded, and of the others the floor(smallest share) ones with
// the smallest errors at the student's end.
struct ParameterMask {
  double from = 0;
  double to = 0;
  double smallest = 0;
};

struct MatchingLoss {
  at::Tensor loss;  // [] float64
  // [P] of the student's dtype: dL/dend, 0 where masked.
  at::Tensor gradient;
  // [tensors of the layout] float64: the share of each in L; sums to 1.
  at::Tensor layer_share;
};

MatchingLoss ComputeMatchingLoss(const ParameterLayout& layout,
                                 const ParameterMask& mask,
                                 const at::Tensor& start, const at::Tensor& end,
                                 const at::Tensor& target);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_MATCHER_MATCHING_LOSS_H_
