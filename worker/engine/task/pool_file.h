// The `pool` blob of common/spec/task_parameters.h.
#ifndef DASM_WORKER_ENGINE_TASK_POOL_FILE_H_
#define DASM_WORKER_ENGINE_TASK_POOL_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/pool/select_pool.h"
#include "worker/engine/sampler/class_sampler.h"
#include "worker/engine/task/task_context.h"

namespace dasm {

// What later tasks read of it, [N] each.
struct PoolFile {
  PoolRule rule = PoolRule::kAll;  // the one applied; metadata "rule"
  std::vector<uint8_t> members;
  std::vector<float> weight;
  std::vector<uint8_t> learned;
};

// DATA, naming the path, for a file of another shape or number of images.
absl::StatusOr<PoolFile> LoadPool(const std::string& path, int64_t images);

// Of the input "pool", by class; without one no class has a pool.
absl::StatusOr<std::vector<ClassPool>> LoadClassPools(const TaskFiles& files,
                                                      const ImageData& data);

absl::Status WritePool(const Pool& pool, const SampleStatistics& statistics,
                       Outputs* outputs);

// "misclassified", ...: its canonical JSON name.
std::string RuleName(PoolRule rule);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_POOL_FILE_H_
