// Training images by difficulty: the order of a `ranking` blob
// (common/spec/task_parameters.h).
#ifndef DASM_COMMON_DATASET_RANKING_H_
#define DASM_COMMON_DATASET_RANKING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace dasm {

// Image numbers, class after class, each class by rising score; equal scores by
// number. As many scores (finite) as labels.
std::vector<int64_t> RankByScore(absl::Span<const float> scores,
                                 absl::Span<const int64_t> labels);

// Byte-stable. Errors as WriteSafetensors.
absl::Status WriteRanking(const std::string& path,
                          const std::vector<float>& scores,
                          const std::vector<int64_t>& order,
                          const std::string& rule);

}  // namespace dasm

#endif  // DASM_COMMON_DATASET_RANKING_H_
