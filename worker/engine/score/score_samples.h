// What a trained network thinks of each sample: the class probabilities that
// pools and coresets are made from.
#ifndef DASM_WORKER_ENGINE_SCORE_SCORE_SAMPLES_H_
#define DASM_WORKER_ENGINE_SCORE_SCORE_SAMPLES_H_

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/collective/collective.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"

namespace dasm {

// Softmax probabilities f32 [N, classes] on the host, the same on every rank
// and for any number of them. Groups are steps of `graph`; null calls them.
// Errors are those of the collective.
absl::StatusOr<at::Tensor> ScoreSamples(const Network& network,
                                        const at::Tensor& parameters,
                                        const at::Tensor& buffers,
                                        const ImageSource& source,
                                        const ExecutionSpec& execution,
                                        Collective* collective,
                                        StepGraph* graph = nullptr);

// Lengths of the images' embeddings (what the classifier sees), f32 [N]; else
// as ScoreSamples.
absl::StatusOr<at::Tensor> FeatureNorms(const Network& network,
                                        const at::Tensor& parameters,
                                        const at::Tensor& buffers,
                                        const ImageSource& source,
                                        const ExecutionSpec& execution,
                                        Collective* collective,
                                        StepGraph* graph = nullptr);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_SCORE_SCORE_SAMPLES_H_
