// Real images that an expert classifies correctly, which DATM starts from (Guo
// et al. 2024): learned soft labels are fragile on others.
#ifndef DASM_WORKER_ENGINE_INIT_CORRECT_IMAGES_H_
#define DASM_WORKER_ENGINE_INIT_CORRECT_IMAGES_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/labels/label_logits.h"

namespace dasm {

struct CorrectImages {
  std::vector<int64_t> images;
  // The last this many are of no expert's liking.
  int64_t unrecognised = 0;
};

// `count` of `order` (training images of class `label` in random order),
// scanned in batches: the first ones that the first expert classifies as
// `label` at `epoch` (-1: its last); when there are too few, those of the
// others that the next expert does, and so on. When all experts together
// recognise too few, the first of the rest fill up, and when even those are too
// few, the result repeats itself. Empty where no expert recognises an image.
absl::StatusOr<CorrectImages> FindCorrectImages(
    const LabelMachine& machine, const Experts& experts, int epoch,
    const ImageSource& source, int64_t label, const std::vector<int64_t>& order,
    int64_t count);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_INIT_CORRECT_IMAGES_H_
