// How hard an image is for a trained network, from what the network thinks of
// it; higher is harder (Paul et al. 2021).
//   EL2N   || p - onehot(y) ||_2
//   GraNd  || p - onehot(y) ||_2 sqrt(1 + || h ||_2^2), the length of the
//          cross-entropy's gradient w.r.t. the classifier's weights and biases
// p: softmax probabilities f32 [N, classes]; y: labels [N]; h: embeddings.
#ifndef DASM_WORKER_ENGINE_SCORE_DIFFICULTY_H_
#define DASM_WORKER_ENGINE_SCORE_DIFFICULTY_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace dasm {

// [N]
std::vector<double> El2n(absl::Span<const float> probabilities,
                         absl::Span<const int64_t> labels);
// `feature_norm` [N]: the lengths of the embeddings.
std::vector<double> Grand(absl::Span<const float> probabilities,
                          absl::Span<const float> feature_norm,
                          absl::Span<const int64_t> labels);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_SCORE_DIFFICULTY_H_
