// What a network is trained on in a task: sets or segments, decoded, with their
// soft labels and step sizes.
#ifndef DASM_WORKER_ENGINE_TASK_TRAINING_SET_H_
#define DASM_WORKER_ENGINE_TASK_TRAINING_SET_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/task/task.h"
#include "worker/engine/trainer/stages.h"

namespace dasm {

struct TrainingSet {
  std::unique_ptr<ImageSource> images;
  // In the order of the images; one for a union, with the step size of its last
  // segment.
  std::vector<SetSegment> segments;
  int factor = 1;
};

// The inputs `prefix`.1 .., at least one, segment after segment. A set in
// preprocessed space is used as it is, one of pixels is decoded and normalised.
// Step sizes are recipe.learning_rate, or with recipe trajectory and 0 those
// that the sets have learned.
//
// Failure class DATA, naming the set and the remedy: soft labels with a recipe
// of hard ones; no step size, or none of a segment, where it is needed; pixels
// where the data set is whitened, or images of another whitening; and as
// LoadSet, CheckSet, ConcatenateSets.
absl::StatusOr<TrainingSet> LoadTrainingSet(const TaskFiles& files,
                                            const std::string& prefix,
                                            const ImageData& data,
                                            const TrainingRecipe& recipe,
                                            Order order);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAINING_SET_H_
