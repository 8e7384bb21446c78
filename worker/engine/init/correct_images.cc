#include "worker/engine/init/correct_images.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>

#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {
namespace {

constexpr int64_t kScanBatch = 256;

}  // namespace

absl::StatusOr<CorrectImages> FindCorrectImages(
    const LabelMachine& machine, const Experts& experts, int epoch,
    const ImageSource& source, int64_t label, const std::vector<int64_t>& order,
    int64_t count) {
  CorrectImages found;
  std::vector<int64_t> left = order;
  for (const std::unique_ptr<ExpertFile>& expert : experts) {
    std::vector<int64_t> passed;
    for (size_t begin = 0; begin < left.size(); begin += kScanBatch) {
      const absl::Span<const int64_t> batch =
          absl::MakeConstSpan(left).subspan(begin, kScanBatch);
      if (static_cast<int64_t>(found.images.size()) == count) break;
      DASM_ASSIGN_OR_RETURN(
          const at::Tensor logits,
          ExpertLogits(machine, *expert, LabelEpoch(*expert, epoch),
                       source.Normalised(batch)));
      const at::Tensor predicted = Predictions(logits).to(at::kLong);
      for (size_t i = 0; i < batch.size(); ++i) {
        const bool right = predicted.const_data_ptr<int64_t>()[i] == label;
        const bool room = static_cast<int64_t>(found.images.size()) < count;
        (right && room ? found.images : passed).push_back(batch[i]);
      }
    }
    if (static_cast<int64_t>(found.images.size()) == count) return found;
    left = std::move(passed);
  }
  const size_t recognised = found.images.size();
  if (recognised == 0) return found;
  found.unrecognised = count - static_cast<int64_t>(recognised);
  found.images.insert(found.images.end(), left.begin(), left.end());
  for (size_t i = 0; static_cast<int64_t>(found.images.size()) < count; ++i) {
    found.images.push_back(found.images[i]);
  }
  found.images.resize(count);
  return found;
}

}  // namespace dasm
