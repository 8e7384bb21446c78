#include "worker/engine/shard/inner_batch.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"

namespace dasm {
namespace {

int64_t GroupOf(const Network& network, int64_t count, int64_t group) {
  if (network.buffers().total() > 0) return count;
  TORCH_CHECK(group > 0, "a shard holds at least one image");
  return std::min(group, count);
}

// Leaves, so that each derivative comes without a detour over the flat vector.
std::vector<at::Tensor> Leaves(const Network& network,
                               const at::Tensor& theta) {
  std::vector<at::Tensor> slices = network.Slice(theta.detach());
  for (at::Tensor& slice : slices) slice = slice.detach().requires_grad_();
  return slices;
}

// Images [begin, begin + size) of a batch.
struct Part {
  int64_t begin;
  int64_t size;
};

Part PartOf(int64_t shard, int64_t group, int64_t count) {
  const int64_t begin = shard * group;
  return {begin, std::min(group, count - begin)};
}

// One after another; what does not depend on anything is 0.
at::Tensor Flat(const Network& network, const std::vector<at::Tensor>& tensors,
                const at::TensorOptions& options) {
  const auto& entries = network.parameters().entries();
  std::vector<at::Tensor> flat;
  for (size_t i = 0; i < entries.size(); ++i) {
    flat.push_back(tensors[i].defined()
                       ? tensors[i].detach().flatten()
                       : at::zeros({entries[i].size}, options));
  }
  return at::cat(flat);
}

// What the steps of a shard are made from.
enum Input : size_t { kTheta, kImages, kLabels, kAugmentation, kAlong };

// What they have in common. Labels and augmentation are as InnerBatch has them.
struct ShardStep {
  const Network* network;
  AugmentationPlan augmentation;
  int64_t batch;  // images of which the shard's are a part

  std::string Key(absl::string_view name) const {
    return absl::StrCat("inner ", name, " of ", batch, " ", augmentation.Key());
  }

  // The shard's share in the batch's loss.
  at::Tensor Loss(const StepGraph::Tensors& in,
                  const std::vector<at::Tensor>& slices,
                  const at::Tensor& images, const at::Tensor& labels) const {
    const at::Tensor logits = network->Forward(
        slices, ApplyAugmentation(images, augmentation, in[kAugmentation]),
        BufferMode::kTrain);
    const auto whole = static_cast<double>(batch);
    if (labels.dim() == 1) {
      return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum) /
             whole;
    }
    return -(at::softmax(labels, 1) * at::log_softmax(logits, 1)).sum() / whole;
  }

  // One row: the gradient, the loss.
  StepGraph::Tensors Gradient(const StepGraph::Tensors& in) const {
    const std::vector<at::Tensor> slices = Leaves(*network, in[kTheta]);
    const at::Tensor loss = Loss(in, slices, in[kImages], in[kLabels]);
    return {at::cat(
        {Flat(*network, torch::autograd::grad({loss}, slices), loss.options()),
         loss.detach().view({1})})};
  }

  // The same, and the graph of the gradient.
  StepGraph::Tensors Record(const StepGraph::Tensors& in,
                            InnerGraph::Shard* graph) const {
    graph->slices = Leaves(*network, in[kTheta]);
    graph->images = in[kImages].detach().clone().requires_grad_();
    at::Tensor labels = in[kLabels];
    if (labels.dim() == 2) {
      labels = labels.detach().clone().requires_grad_();
      graph->labels = labels;
    }
    const at::Tensor loss = Loss(in, graph->slices, graph->images, labels);
    graph->gradient =
        torch::autograd::grad({loss}, graph->slices, {}, /*retain_graph=*/true,
                              /*create_graph=*/true);
    return {at::cat({Flat(*network, graph->gradient, loss.options()),
                     loss.detach().view({1})})};
  }

  // One row: the derivative by theta, if it is wanted, and the product with
  // `u`; the derivatives by images and by label logits.
  StepGraph::Tensors Adjoint(const InnerGraph::Shard& graph,
                             const at::Tensor& u, bool by_theta) const {
    const std::vector<at::Tensor> along = network->Slice(u.detach());
    at::Tensor product;
    for (size_t i = 0; i < graph.gradient.size(); ++i) {
      const at::Tensor one = (graph.gradient[i] * along[i]).sum();
      product = product.defined() ? product + one : one;
    }
    const bool soft = graph.labels.defined();
    std::vector<at::Tensor> inputs = {graph.images};
    if (soft) inputs.push_back(graph.labels);
    if (by_theta) {
      inputs.insert(inputs.end(), graph.slices.begin(), graph.slices.end());
    }
    std::vector<at::Tensor> derivatives = torch::autograd::grad(
        {product}, inputs, {}, c10::nullopt, /*create_graph=*/false,
        /*allow_unused=*/true);
    const size_t before = soft ? 2 : 1;
    std::vector<at::Tensor> row = {product.detach().view({1})};
    if (by_theta) {
      row.insert(
          row.begin(),
          Flat(*network, {derivatives.begin() + before, derivatives.end()},
               u.options()));
    }
    derivatives.resize(before);
    for (size_t i = 0; i < before; ++i) {
      if (!derivatives[i].defined()) {
        derivatives[i] = at::zeros_like(inputs[i]);
      }
    }
    derivatives.insert(derivatives.begin(), at::cat(row));
    return derivatives;
  }
};

// All inputs but the last, on the device.
StepGraph::Tensors InputsOf(const at::Tensor& theta, const InnerBatch& batch,
                            const at::Tensor& augmentation, Part part) {
  return {theta, batch.images.detach().narrow(0, part.begin, part.size),
          batch.labels.detach().narrow(0, part.begin, part.size),
          augmentation.size(1) > 1
              ? augmentation.narrow(1, part.begin, part.size)
              : augmentation};
}

ShardStep StepOf(const Network& network, const InnerBatch& batch) {
  AugmentationPlan plan;
  if (batch.augmentation != nullptr) plan = *batch.augmentation;
  return {&network, std::move(plan), batch.images.size(0)};
}

// Uploaded once for all shards.
at::Tensor AugmentationOf(const InnerBatch& batch, at::Device device) {
  return batch.augmentation != nullptr
             ? Upload(batch.augmentation->Parameters(), device)
             : at::empty({0, 0}, at::TensorOptions(device).dtype(at::kDouble));
}

}  // namespace

absl::StatusOr<InnerGradient> GradientOf(const Network& network,
                                         const at::Tensor& theta,
                                         const InnerBatch& batch,
                                         const ShardRunner& runner,
                                         InnerGraph* keep, StepGraph* graph) {
  const int64_t count = batch.images.size(0);
  const int64_t group = GroupOf(network, count, batch.group);
  const int64_t parameters = network.parameters().total();
  const ShardStep step = StepOf(network, batch);
  const at::Tensor augmentation = AugmentationOf(batch, theta.device());
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sum,
      runner.Sum(
          (count + group - 1) / group, parameters + 1, theta.scalar_type(),
          [&](int64_t shard, const at::Tensor& row) {
            const StepGraph::Tensors inputs = InputsOf(
                theta, batch, augmentation, PartOf(shard, group, count));
            if (keep != nullptr) {
              row.copy_(step.Record(inputs, &keep->shards[shard])[0]);
              return;
            }
            row.copy_(RunStep(graph, theta.device(), step.Key("gradient"),
                              inputs, [step](const StepGraph::Tensors& in) {
                                return step.Gradient(in);
                              })[0]);
          }));
  return InnerGradient{sum[parameters], sum.narrow(0, 0, parameters)};
}

absl::StatusOr<InnerAdjoint> AdjointOf(
    const Network& network, const at::Tensor& theta, const InnerBatch& batch,
    const at::Tensor& u, const ShardRunner& runner, ByParameters by_parameters,
    InnerGraph* kept, StepGraph* graph) {
  const int64_t count = batch.images.size(0);
  const int64_t group = GroupOf(network, count, batch.group);
  const bool soft = batch.labels.dim() == 2;
  const bool by_theta = by_parameters == ByParameters::kWanted;
  const int64_t parameters = by_theta ? network.parameters().total() : 0;
  const ShardStep step = StepOf(network, batch);
  const at::Tensor augmentation = AugmentationOf(batch, theta.device());
  InnerAdjoint adjoint;
  adjoint.image_rows = at::zeros_like(batch.images.detach());
  if (soft) adjoint.label_rows = at::zeros_like(batch.labels.detach());
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sum,
      runner.Sum(
          (count + group - 1) / group, parameters + 1, theta.scalar_type(),
          [&](int64_t shard, const at::Tensor& row) {
            const Part part = PartOf(shard, group, count);
            StepGraph::Tensors results;
            if (kept != nullptr) {
              const InnerGraph::Shard own = std::move(kept->shards.at(shard));
              results = step.Adjoint(own, u, by_theta);
            } else {
              StepGraph::Tensors inputs =
                  InputsOf(theta, batch, augmentation, part);
              inputs.push_back(u);
              results = RunStep(
                  graph, theta.device(),
                  step.Key(by_theta ? "adjoint" : "last adjoint"), inputs,
                  [step, by_theta](const StepGraph::Tensors& in) {
                    InnerGraph::Shard own;
                    step.Record(in, &own);
                    return step.Adjoint(own, in[kAlong], by_theta);
                  });
            }
            row.copy_(results[0]);
            adjoint.image_rows.narrow(0, part.begin, part.size)
                .copy_(results[1]);
            if (soft) {
              adjoint.label_rows.narrow(0, part.begin, part.size)
                  .copy_(results[2]);
            }
          }));
  adjoint.product = sum[parameters];
  if (by_theta) adjoint.parameters = sum.narrow(0, 0, parameters);
  return adjoint;
}

absl::StatusOr<std::vector<at::Tensor>> GatherRows(
    const Network& network, const std::vector<at::Tensor>& steps, int64_t group,
    const ShardRunner& runner) {
  if (steps.empty() || runner.size() == 1) return steps;
  const int64_t count = steps[0].size(0);
  const int64_t image = steps[0].numel() / count;
  group = GroupOf(network, count, group);
  const auto number = static_cast<int64_t>(steps.size());
  // A shard's slices of all steps are one row; the last slice may be short.
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor rows,
      runner.Gather(
          (count + group - 1) / group, number * group * image,
          steps[0].scalar_type(), [&](int64_t shard, const at::Tensor& row) {
            const Part part = PartOf(shard, group, count);
            const at::Tensor slices = row.zero_().view({number, group, image});
            for (int64_t k = 0; k < number; ++k) {
              slices[k]
                  .narrow(0, 0, part.size)
                  .copy_(steps[k].narrow(0, part.begin, part.size).flatten(1));
            }
          }));
  const at::Tensor by_step =
      rows.view({-1, number, group, image}).transpose(0, 1);
  std::vector<at::Tensor> all;
  for (int64_t k = 0; k < number; ++k) {
    all.push_back(by_step[k]
                      .reshape({-1, image})
                      .narrow(0, 0, count)
                      .reshape(steps[k].sizes()));
  }
  return all;
}

}  // namespace dasm
