// Soft labels: logits of experts on synthetic images (DATM, Guo et al. 2024;
// TESLA, Cui et al. 2023). Targets are the softmax of a row.
//
// Shapes: images [n, C, H, W] fp32, preprocessed; logits [n, classes] fp32 on
//   the host. Networks run in evaluation mode without augmentation, in groups
//   of execution.forward_group which ranks share: the same bits for any number
//   of ranks.
#ifndef DASM_WORKER_ENGINE_LABELS_LABEL_LOGITS_H_
#define DASM_WORKER_ENGINE_LABELS_LABEL_LOGITS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/collective/collective.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"
#include "worker/engine/teacher/expert_file.h"

namespace dasm {

using Experts = std::vector<std::unique_ptr<ExpertFile>>;

// Who computes logits, and where. Borrows.
struct LabelMachine {
  const Network& network;
  const ExecutionSpec& execution;
  Collective* collective;
  at::Device device;
  StepGraph* graph = nullptr;  // null: groups are called, not recorded
};

// Of an expert at an epoch. `images` may be anywhere.
absl::StatusOr<at::Tensor> ExpertLogits(const LabelMachine& machine,
                                        const ExpertFile& expert, int epoch,
                                        const at::Tensor& images);

// `epoch`, or the expert's last one for -1.
int LabelEpoch(const ExpertFile& expert, int epoch);

struct LabelLogits {
  at::Tensor logits;
  // Images that no expert classifies correctly, ascending; with kAllCorrect.
  std::vector<int64_t> unrecognised;
};

// The labels that distillation starts from.
//   kAllCorrect  for each image the mean over the experts that classify it as
//                `labels` [n] say; over all experts where none does (an average
//                over none would be 0 / 0)
//   kFirst       those of the first expert, right or wrong
// `experts` is not empty.
absl::StatusOr<LabelLogits> InitialLabelLogits(const LabelMachine& machine,
                                               const Experts& experts,
                                               LabelExperts which, int epoch,
                                               const at::Tensor& images,
                                               const at::Tensor& labels);

// Mean over the rows of the entropy of their softmax, in nats; [] float64.
at::Tensor MeanLabelEntropy(const at::Tensor& logits);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_LABELS_LABEL_LOGITS_H_
