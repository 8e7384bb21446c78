#include "common/dataset/ranking.h"

#include <algorithm>
#include <numeric>

#include "common/artifact/safetensors.h"

namespace dasm {

std::vector<int64_t> RankByScore(absl::Span<const float> scores,
                                 absl::Span<const int64_t> labels) {
  std::vector<int64_t> order(labels.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (labels[a] != labels[b]) return labels[a] < labels[b];
    return scores[a] < scores[b];
  });
  return order;
}

absl::Status WriteRanking(const std::string& path,
                          const std::vector<float>& scores,
                          const std::vector<int64_t>& order,
                          const std::string& rule) {
  const auto count = static_cast<int64_t>(order.size());
  return WriteSafetensors(path,
                          {{"score", {DType::kF32, {count}, scores.data()}},
                           {"order", {DType::kI64, {count}, order.data()}}},
                          {{"rule", rule}});
}

}  // namespace dasm
