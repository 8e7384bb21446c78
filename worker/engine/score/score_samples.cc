#include "worker/engine/score/score_samples.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/engine/shard/shard_runner.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {

absl::StatusOr<at::Tensor> ScoreSamples(const Network& network,
                                        const at::Tensor& parameters,
                                        const at::Tensor& buffers,
                                        const ImageSource& source,
                                        const ExecutionSpec& execution,
                                        Collective* collective) {
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor logits,
      Logits(network, parameters, buffers, source, execution, collective));
  return at::softmax(logits, 1);
}

absl::StatusOr<at::Tensor> FeatureNorms(const Network& network,
                                        const at::Tensor& parameters,
                                        const at::Tensor& buffers,
                                        const ImageSource& source,
                                        const ExecutionSpec& execution,
                                        Collective* collective) {
  const int64_t count = source.size();
  const int64_t group = execution.forward_group;
  const std::vector<at::Tensor> slices = network.Slice(parameters);
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor rows,
      ShardRunner(collective, parameters.device())
          .Gather(
              (count + group - 1) / group, group, at::kFloat,
              [&](int64_t shard, const at::Tensor& row) {
                c10::InferenceMode no_autograd;
                const int64_t begin = shard * group;
                std::vector<int64_t> indices(std::min(group, count - begin));
                std::iota(indices.begin(), indices.end(), begin);
                const at::Tensor images =
                    source.Normalised(indices).to(parameters.device());
                const at::Tensor features =
                    network.Embed(slices, images, BufferMode::kEval, buffers);
                // The last group may be short: its row ends in zeros.
                row.zero_();
                row.narrow(0, 0, features.size(0))
                    .copy_(features.pow(2).sum(1).sqrt());
              }));
  return rows.flatten().narrow(0, 0, count).cpu();
}

}  // namespace dasm
