// How far two sets of parameter gradients are apart, layer by layer.
//
//   l1      sum of |a - b|                              (IDC)
//   mse     sum of (a - b)^2                            (IDC)
//   cosine  sum over output units of 1 - <a,b> / (|a||b| + 1e-6), a row being
//           everything that feeds the unit; one-dimensional tensors
//           contribute 0                                (DC, "ours")
// All are sums, not means: the image learning rate is tied to them.
#ifndef DASM_WORKER_ENGINE_MATCHER_DISTANCE_H_
#define DASM_WORKER_ENGINE_MATCHER_DISTANCE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/spec/job_spec.h"

namespace dasm {

// Whether the gradient of a parameter of this many dimensions is matched...
bool IsMatched(Layers layers, int64_t dimensions);
// ... and whether the distance depends on it then.
bool IsCompared(Distance distance, int64_t dimensions);

// A scalar, differentiable with respect to `a`. Equal numbers of tensors, of
// equal shapes.
at::Tensor GradientDistance(Distance distance, const std::vector<at::Tensor>& a,
                            const std::vector<at::Tensor>& b);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_MATCHER_DISTANCE_H_
