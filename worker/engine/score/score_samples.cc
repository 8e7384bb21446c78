#include "worker/engine/score/score_samples.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/engine/shard/shard_runner.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {
namespace {

// The step of a group, from parameters, buffers and images.
struct Norms {
  const Network* network;

  StepGraph::Tensors operator()(const StepGraph::Tensors& in) const {
    const c10::InferenceMode no_autograd;
    return {
        network->Embed(network->Slice(in[0]), in[2], BufferMode::kEval, in[1])
            .pow(2)
            .sum(1)
            .sqrt()};
  }
};

}  // namespace

absl::StatusOr<at::Tensor> ScoreSamples(
    const Network& network, const at::Tensor& parameters,
    const at::Tensor& buffers, const ImageSource& source,
    const ExecutionSpec& execution, Collective* collective, StepGraph* graph) {
  DASM_ASSIGN_OR_RETURN(const at::Tensor logits,
                        Logits(network, parameters, buffers, source, execution,
                               collective, graph));
  return at::softmax(logits, 1);
}

absl::StatusOr<at::Tensor> FeatureNorms(
    const Network& network, const at::Tensor& parameters,
    const at::Tensor& buffers, const ImageSource& source,
    const ExecutionSpec& execution, Collective* collective, StepGraph* graph) {
  const at::Device device = parameters.device();
  const int64_t count = source.size();
  const int64_t group = execution.forward_group;
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor rows,
      ShardRunner(collective, device)
          .Gather(
              (count + group - 1) / group, group, at::kFloat,
              [&](int64_t shard, const at::Tensor& row) {
                const int64_t begin = shard * group;
                std::vector<int64_t> indices(std::min(group, count - begin));
                std::iota(indices.begin(), indices.end(), begin);
                const at::Tensor norms =
                    RunStep(graph, device, "feature norms",
                            {parameters, buffers, source.Normalised(indices)},
                            Norms{&network})[0];
                // The last group may be short: its row ends in zeros.
                row.zero_();
                row.narrow(0, 0, norms.size(0)).copy_(norms);
              }));
  return rows.flatten().narrow(0, 0, count).cpu();
}

}  // namespace dasm
