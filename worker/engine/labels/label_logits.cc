#include "worker/engine/labels/label_logits.h"

#include <ATen/ATen.h>

#include <utility>

#include "common/base/status_macros.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {

absl::StatusOr<at::Tensor> ExpertLogits(const LabelMachine& machine,
                                        const ExpertFile& expert, int epoch,
                                        const at::Tensor& images) {
  // Labels of a source are of no account here.
  const TensorSource source(images.detach().cpu().contiguous(),
                            std::vector<int64_t>(images.size(0)));
  return Logits(machine.network, expert.Parameters(epoch).to(machine.device),
                expert.Buffers(epoch).to(machine.device), source,
                machine.execution, machine.collective, machine.graph);
}

int LabelEpoch(const ExpertFile& expert, int epoch) {
  return epoch < 0 ? expert.epochs() : epoch;
}

absl::StatusOr<LabelLogits> InitialLabelLogits(const LabelMachine& machine,
                                               const Experts& experts,
                                               LabelExperts which, int epoch,
                                               const at::Tensor& images,
                                               const at::Tensor& labels) {
  LabelLogits result;
  if (which == LabelExperts::kFirst) {
    DASM_ASSIGN_OR_RETURN(result.logits,
                          ExpertLogits(machine, *experts[0],
                                       LabelEpoch(*experts[0], epoch), images));
    return result;
  }
  at::Tensor of_correct, of_all, correct;
  for (const std::unique_ptr<ExpertFile>& expert : experts) {
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor logits,
        ExpertLogits(machine, *expert, LabelEpoch(*expert, epoch), images));
    const at::Tensor one = logits.to(at::kDouble);
    const at::Tensor right = Predictions(logits)
                                 .to(at::kLong)
                                 .eq(labels)
                                 .to(at::kDouble)
                                 .unsqueeze(1);
    if (!of_all.defined()) {
      of_all = at::zeros_like(one);
      of_correct = at::zeros_like(one);
      correct = at::zeros_like(right);
    }
    of_all.add_(one);
    of_correct.add_(one * right);
    correct.add_(right);
  }
  const at::Tensor mean = of_all / static_cast<double>(experts.size());
  result.logits =
      at::where(correct > 0, of_correct / correct, mean).to(at::kFloat);
  const at::Tensor none = correct.squeeze(1).eq(0).nonzero().flatten();
  result.unrecognised.assign(none.const_data_ptr<int64_t>(),
                             none.const_data_ptr<int64_t>() + none.numel());
  return result;
}

at::Tensor MeanLabelEntropy(const at::Tensor& logits) {
  const at::Tensor log_share =
      at::log_softmax(logits.detach().to(at::kDouble), 1);
  return -(log_share.exp() * log_share).sum(1).mean();
}

}  // namespace dasm
