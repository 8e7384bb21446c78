// The tensors that a segment starts from, and the coreset baselines, which are
// starts that nobody distils.
#ifndef DASM_WORKER_ENGINE_TASK_START_SET_H_
#define DASM_WORKER_ENGINE_TASK_START_SET_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/set_data.h"
#include "worker/engine/sampler/class_sampler.h"

namespace dasm {

struct StartOptions {
  uint64_t seed = 0;
  Init init = Init::kReal;
  int factor = 1;
  int images_per_class = 0;
  int segment = 0;
};

// Class-major. Real tiles come from the class's pool (its whole class without
// one), those in `used` last. In pixel space, of a whitened data set in its
// own. DATA when a class has no training image.
absl::StatusOr<SetData> DrawStart(const StartOptions& options,
                                  const ImageData& data,
                                  const std::vector<ClassPool>& pools,
                                  const absl::flat_hash_set<int64_t>& used);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_START_SET_H_
