// The `scores` and `ranking` blobs of common/spec/task_parameters.h.
#ifndef DASM_WORKER_ENGINE_TASK_SCORES_FILE_H_
#define DASM_WORKER_ENGINE_TASK_SCORES_FILE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/artifact/safetensors.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/teacher/data_schedule.h"

namespace dasm {

// Mapped.
struct ScoresFile {
  std::unique_ptr<SafetensorsFile> file;
  absl::Span<const float> probabilities;  // [N, classes]
  absl::Span<const float> feature_norm;   // [N]; empty without `grand`
};

// DATA, naming the path, for a file of another shape or of other images.
absl::StatusOr<ScoresFile> LoadScores(const std::string& path,
                                      const ImageData& data);

// The training images of each class from easy to hard. DATA as above, and when
// the order is not each image once, class after class.
absl::StatusOr<ClassImages> LoadRanking(const std::string& path,
                                        const ImageData& data);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_SCORES_FILE_H_
