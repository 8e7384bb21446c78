#include "worker/engine/score/difficulty.h"

#include <cmath>

namespace dasm {

std::vector<double> El2n(absl::Span<const float> probabilities,
                         absl::Span<const int64_t> labels) {
  std::vector<double> scores(labels.size());
  const size_t classes =
      labels.empty() ? 0 : probabilities.size() / labels.size();
  const float* p = probabilities.data();
  for (size_t i = 0; i < labels.size(); ++i, p += classes) {
    double squares = 0;
    for (size_t c = 0; c < classes; ++c) {
      const double error = p[c] - (static_cast<int64_t>(c) == labels[i]);
      squares += error * error;
    }
    scores[i] = std::sqrt(squares);
  }
  return scores;
}

std::vector<double> Grand(absl::Span<const float> probabilities,
                          absl::Span<const float> feature_norm,
                          absl::Span<const int64_t> labels) {
  std::vector<double> scores = El2n(probabilities, labels);
  for (size_t i = 0; i < scores.size(); ++i) {
    scores[i] *= std::hypot(1.0, feature_norm[i]);
  }
  return scores;
}

}  // namespace dasm
