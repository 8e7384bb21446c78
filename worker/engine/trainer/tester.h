// Runs a trained network over labelled images, without autograd.
//
// Images are computed in groups of execution.forward_group, ranks take groups
// round-robin, and every rank receives all logits: the same bits for any number
// of ranks. BatchNorm uses its running statistics. On a device images are kept
// there meanwhile, and a group is a recorded step (step_graph.h).
#ifndef DASM_WORKER_ENGINE_TRAINER_TESTER_H_
#define DASM_WORKER_ENGINE_TRAINER_TESTER_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/collective/collective.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"

namespace dasm {

// [N, classes] fp32 on the host. `parameters` [P] and `buffers` [B] say where
// it is computed. `graph` null: steps are called. Errors are those of the
// collective.
absl::StatusOr<at::Tensor> Logits(const Network& network,
                                  const at::Tensor& parameters,
                                  const at::Tensor& buffers,
                                  const ImageSource& source,
                                  const ExecutionSpec& execution,
                                  Collective* collective,
                                  StepGraph* graph = nullptr);

// The class of the largest logit (the first of equal ones), int32 [N].
at::Tensor Predictions(const at::Tensor& logits);
// Percent of `predictions` (int32 [N]) that equal `labels`.
double Accuracy(const at::Tensor& predictions,
                const std::vector<int64_t>& labels);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TRAINER_TESTER_H_
