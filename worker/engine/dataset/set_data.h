// A stored set or segment (common/spec/task_parameters.h), copied to aligned
// memory.
#ifndef DASM_WORKER_ENGINE_DATASET_SET_DATA_H_
#define DASM_WORKER_ENGINE_DATASET_SET_DATA_H_

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace dasm {

// Metadata of a whitened data set, and of a set made of one: what the whitening
// was fitted with.
inline constexpr char kWhitening[] = "whitening";

struct SetData {
  at::Tensor images;   // f32 [M, C, H, W]; stored, not decoded
  at::Tensor labels;   // i64 [M]
  at::Tensor segment;  // i32 [M]
  // i64 [M, factor^2], the training images of the tiles; undefined where the
  // file has none.
  at::Tensor source;
  int factor = 1;
  // False: images are pixels in [0, 1]. True: they are normalised or whitened
  // as the data set is, in any range.
  bool preprocessed = false;
  // By which whitening, as the whitened data set named it; empty where unknown.
  std::string whitening;
  // f32 [M, classes]; a target is the softmax of a row. Undefined: targets are
  // `labels`.
  at::Tensor label_logits;
  // f32, one a segment in the order of the file, each above 0; undefined where
  // none was learned.
  at::Tensor step_size;
};

// Failure class DATA, naming the path, for a file of another shape.
absl::StatusOr<SetData> LoadSet(const std::string& path);

// The union, in the given order. `source` is kept where every set has one, and
// so are step sizes, one after another. DATA when shapes, factors or spaces
// or whitenings differ, or when some sets have soft labels and others have not;
// `sets` is not empty.
absl::StatusOr<SetData> ConcatenateSets(const std::vector<SetData>& sets);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_SET_DATA_H_
