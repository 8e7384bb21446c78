#include "worker/engine/task/start_set.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "worker/engine/init/initial_images.h"

namespace dasm {

absl::StatusOr<SetData> DrawStart(const StartOptions& options,
                                  const ImageData& data,
                                  const std::vector<ClassPool>& pools,
                                  const absl::flat_hash_set<int64_t>& used) {
  const ImageShape shape = data.shape();
  const int64_t n = options.images_per_class;
  const int64_t tiles = int64_t{options.factor} * options.factor;
  const bool whitened = data.train_bytes() == nullptr;
  std::vector<at::Tensor> images;
  std::vector<at::Tensor> labels;
  std::vector<at::Tensor> sources;
  for (int c = 0; c < data.classes(); ++c) {
    const auto label = static_cast<uint32_t>(c);
    labels.push_back(at::full({n}, c, at::kLong));
    if (options.init == Init::kNoise) {
      const NoiseShape noise = {n, shape.channels, shape.height, shape.width};
      images.push_back(whitened ? NormalImages(options.seed, label, noise)
                                : NoiseImages(options.seed, label, noise));
      sources.push_back(at::full({n, tiles}, -1, at::kLong));
      continue;
    }
    const ClassPool& pool = pools[c];
    const std::vector<int64_t>& candidates =
        pool.members.empty() ? data.train_by_class()[c] : pool.members;
    if (candidates.empty()) {
      return WithFailureClass(
          absl::FailedPreconditionError(
              absl::StrCat(data.name(), ": class \"", data.class_names()[c],
                           "\" has no training image")),
          FailureClass::kData);
    }
    const std::vector<int64_t> drawn = DrawSources(
        {options.seed, label, n * tiles}, candidates, pool.weights, used);
    images.push_back(PasteTiles(whitened ? data.train().Normalised(drawn)
                                         : data.train_bytes()->Pixels(drawn),
                                options.factor));
    sources.push_back(at::tensor(drawn, at::kLong).view({n, tiles}));
  }
  SetData set;
  set.images = at::cat(images).contiguous();
  set.labels = at::cat(labels);
  set.segment = at::full({set.labels.numel()}, options.segment, at::kInt);
  set.source = at::cat(sources);
  set.factor = options.factor;
  set.preprocessed = whitened;
  return set;
}

}  // namespace dasm
