// What trajectory matching starts from: real images, those that experts
// classify correctly, or noise, in preprocessed space, with the labels and the
// step size that are then learned.
#ifndef DASM_WORKER_ENGINE_TASK_TRAJECTORY_START_H_
#define DASM_WORKER_ENGINE_TASK_TRAJECTORY_START_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/set_data.h"
#include "worker/engine/labels/label_logits.h"
#include "worker/engine/sampler/class_sampler.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

struct TrajectoryStartOptions {
  uint64_t seed = 0;
  Init init = Init::kReal;
  int images_per_class = 0;
  int segment = 0;
  const TrajectoryMatchingSpec& matching;
  const ExecutionSpec& execution;
};

// Class-major. Real images come from the class's pool (its whole class without
// one, and with Init::kCorrect where no expert recognises an image of the
// pool), those in `used` last.
//   DATA  (failure class), naming the class: it has no training image, or, with
//         Init::kCorrect, none that an expert classifies correctly
// What had to be filled up is told to the observer.
absl::StatusOr<SetData> DrawTrajectoryStart(
    const TrajectoryStartOptions& options, const ImageData& data,
    const Network& network, const Experts& experts,
    const std::vector<ClassPool>& pools,
    const absl::flat_hash_set<int64_t>& used, const TaskContext& context);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAJECTORY_START_H_
