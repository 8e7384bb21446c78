#include "worker/engine/trainer/tester.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "common/base/status_macros.h"
#include "worker/engine/shard/shard_runner.h"

namespace dasm {

absl::StatusOr<at::Tensor> Logits(const Network& network,
                                  const at::Tensor& parameters,
                                  const at::Tensor& buffers,
                                  const ImageSource& source,
                                  const ExecutionSpec& execution,
                                  Collective* collective) {
  const int64_t count = source.size();
  const int64_t group = execution.forward_group;
  const int64_t shards = (count + group - 1) / group;
  const std::vector<at::Tensor> slices = network.Slice(parameters);
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor rows,
      ShardRunner(collective, parameters.device())
          .Gather(
              shards, group * network.classes(), at::kFloat,
              [&](int64_t shard, const at::Tensor& row) {
                c10::InferenceMode no_autograd;
                const int64_t begin = shard * group;
                std::vector<int64_t> indices(std::min(group, count - begin));
                std::iota(indices.begin(), indices.end(), begin);
                const at::Tensor images =
                    source.Normalised(indices).to(parameters.device());
                const at::Tensor logits =
                    network.Forward(slices, images, BufferMode::kEval, buffers);
                // The last group may be short: its row ends in zeros.
                row.zero_();
                row.narrow(0, 0, logits.numel()).copy_(logits.flatten());
              }));
  return rows.view({-1, network.classes()}).narrow(0, 0, count).cpu();
}

at::Tensor Predictions(const at::Tensor& logits) {
  at::Tensor predictions = at::empty({logits.size(0)}, at::kInt);
  const at::Tensor values = logits.contiguous();
  const float* row = values.const_data_ptr<float>();
  int32_t* out = predictions.mutable_data_ptr<int32_t>();
  const int64_t classes = values.size(1);
  for (int64_t i = 0; i < values.size(0); ++i, row += classes) {
    out[i] = static_cast<int32_t>(std::max_element(row, row + classes) - row);
  }
  return predictions;
}

double Accuracy(const at::Tensor& predictions,
                const std::vector<int64_t>& labels) {
  const int32_t* predicted = predictions.const_data_ptr<int32_t>();
  int64_t right = 0;
  for (size_t i = 0; i < labels.size(); ++i) right += predicted[i] == labels[i];
  return 100.0 * static_cast<double>(right) /
         static_cast<double>(labels.size());
}

}  // namespace dasm
