#include "worker/engine/trainer/tester.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <numeric>

#include "common/base/status_macros.h"
#include "worker/engine/device/resident_images.h"
#include "worker/engine/shard/shard_runner.h"

namespace dasm {

namespace {

// The step of a group, from parameters, buffers and images.
struct Test {
  const Network* network;

  StepGraph::Tensors operator()(const StepGraph::Tensors& in) const {
    const c10::InferenceMode no_autograd;
    return {network->Forward(network->Slice(in[0]), in[2], BufferMode::kEval,
                             in[1])};
  }
};

}  // namespace

absl::StatusOr<at::Tensor> Logits(const Network& network,
                                  const at::Tensor& parameters,
                                  const at::Tensor& buffers,
                                  const ImageSource& source,
                                  const ExecutionSpec& execution,
                                  Collective* collective, StepGraph* graph) {
  const at::Device device = parameters.device();
  const int64_t count = source.size();
  const int64_t group = execution.forward_group;
  const int64_t shards = (count + group - 1) / group;
  const std::unique_ptr<ImageSource> resident = MakeResident(&source, device);
  const ImageSource& images = resident != nullptr ? *resident : source;
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor rows,
      ShardRunner(collective, device)
          .Gather(
              shards, group * network.classes(), at::kFloat,
              [&](int64_t shard, const at::Tensor& row) {
                const int64_t begin = shard * group;
                std::vector<int64_t> indices(std::min(group, count - begin));
                std::iota(indices.begin(), indices.end(), begin);
                const at::Tensor logits =
                    RunStep(graph, device, "test",
                            {parameters, buffers, images.Normalised(indices)},
                            Test{&network})[0];
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
