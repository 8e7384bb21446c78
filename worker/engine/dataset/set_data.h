// A stored set or segment (common/spec/task_parameters.h), copied to aligned
// memory.
#ifndef DASM_WORKER_ENGINE_DATASET_SET_DATA_H_
#define DASM_WORKER_ENGINE_DATASET_SET_DATA_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

struct SetData {
  at::Tensor images;   // f32 [M, C, H, W] in [0, 1]; stored, not decoded
  at::Tensor labels;   // i64 [M]
  at::Tensor segment;  // i32 [M]
  // i64 [M, factor^2], the training images of the tiles; undefined where the
  // file has none.
  at::Tensor source;
  int factor = 1;
};

// Failure class DATA, naming the path, for a file of another shape.
absl::StatusOr<SetData> LoadSet(const std::string& path);

// The union, in the given order. `source` is kept where every set has one.
// DATA when shapes or factors differ; `sets` is not empty.
absl::StatusOr<SetData> ConcatenateSets(const std::vector<SetData>& sets);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_SET_DATA_H_
