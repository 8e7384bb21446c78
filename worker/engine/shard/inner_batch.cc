#include "worker/engine/shard/inner_batch.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>
#include <utility>

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

at::Tensor Augment(const at::Tensor& images, const InnerBatch& batch,
                   Part part) {
  if (batch.augmentation == nullptr) return images;
  std::vector<int64_t> positions(part.size);
  std::iota(positions.begin(), positions.end(), part.begin);
  return ApplyAugmentation(images, batch.augmentation->Select(positions));
}

// The part's share in the batch's loss.
at::Tensor PartLoss(const Network& network,
                    const std::vector<at::Tensor>& slices,
                    const at::Tensor& augmented, const at::Tensor& labels,
                    int64_t count) {
  const at::Tensor logits =
      network.Forward(slices, augmented, BufferMode::kTrain);
  const auto whole = static_cast<double>(count);
  if (labels.dim() == 1) {
    return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum) /
           whole;
  }
  return -(at::softmax(labels, 1) * at::log_softmax(logits, 1)).sum() / whole;
}

// Into the first P values of `row`; what does not depend on anything is 0.
void StoreFlat(const Network& network, const std::vector<at::Tensor>& tensors,
               const at::Tensor& row) {
  const auto& entries = network.parameters().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    const at::Tensor to = row.narrow(0, entries[i].offset, entries[i].size);
    if (tensors[i].defined()) {
      to.copy_(tensors[i].detach().flatten());
    } else {
      to.zero_();
    }
  }
}

// The graph of the part's gradient; its loss.
at::Tensor Record(const Network& network, std::vector<at::Tensor> slices,
                  const InnerBatch& batch, Part part,
                  InnerGraph::Shard* graph) {
  graph->slices = std::move(slices);
  graph->images =
      batch.images.detach().narrow(0, part.begin, part.size).clone();
  graph->images.requires_grad_();
  at::Tensor labels = batch.labels.narrow(0, part.begin, part.size);
  if (labels.dim() == 2) {
    labels = labels.detach().clone().requires_grad_();
    graph->labels = labels;
  }
  const at::Tensor loss =
      PartLoss(network, graph->slices, Augment(graph->images, batch, part),
               labels, batch.images.size(0));
  graph->gradient =
      torch::autograd::grad({loss}, graph->slices, {}, /*retain_graph=*/true,
                            /*create_graph=*/true);
  return loss.detach();
}

}  // namespace

absl::StatusOr<InnerGradient> GradientOf(const Network& network,
                                         const at::Tensor& theta,
                                         const InnerBatch& batch,
                                         const ShardRunner& runner,
                                         InnerGraph* keep) {
  const int64_t count = batch.images.size(0);
  const int64_t group = GroupOf(network, count, batch.group);
  const int64_t parameters = network.parameters().total();
  const std::vector<at::Tensor> slices = Leaves(network, theta);
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sum,
      runner.Sum(
          (count + group - 1) / group, parameters + 1, theta.scalar_type(),
          [&](int64_t shard, const at::Tensor& row) {
            const Part part = PartOf(shard, group, count);
            if (keep != nullptr) {
              InnerGraph::Shard& graph = keep->shards[shard];
              const at::Tensor loss =
                  Record(network, slices, batch, part, &graph);
              StoreFlat(network, graph.gradient, row);
              row[parameters].copy_(loss);
              return;
            }
            const at::Tensor images =
                batch.images.detach().narrow(0, part.begin, part.size);
            const at::Tensor loss = PartLoss(
                network, slices, Augment(images, batch, part),
                batch.labels.detach().narrow(0, part.begin, part.size), count);
            StoreFlat(network, torch::autograd::grad({loss}, slices), row);
            row[parameters].copy_(loss.detach());
          }));
  return InnerGradient{sum[parameters], sum.narrow(0, 0, parameters)};
}

absl::StatusOr<InnerAdjoint> AdjointOf(
    const Network& network, const at::Tensor& theta, const InnerBatch& batch,
    const at::Tensor& u, const ShardRunner& runner, ByParameters by_parameters,
    InnerGraph* kept) {
  const int64_t count = batch.images.size(0);
  const int64_t group = GroupOf(network, count, batch.group);
  const bool soft = batch.labels.dim() == 2;
  const bool by_theta = by_parameters == ByParameters::kWanted;
  const int64_t parameters = by_theta ? network.parameters().total() : 0;
  const std::vector<at::Tensor> along = network.Slice(u.detach());
  InnerAdjoint adjoint;
  adjoint.image_rows = at::zeros_like(batch.images.detach());
  if (soft) adjoint.label_rows = at::zeros_like(batch.labels.detach());
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sum,
      runner.Sum(
          (count + group - 1) / group, parameters + 1, theta.scalar_type(),
          [&](int64_t shard, const at::Tensor& row) {
            const Part part = PartOf(shard, group, count);
            InnerGraph::Shard graph;
            if (kept != nullptr) {
              graph = std::move(kept->shards.at(shard));
            } else {
              Record(network, Leaves(network, theta), batch, part, &graph);
            }
            at::Tensor product;
            for (size_t i = 0; i < graph.gradient.size(); ++i) {
              const at::Tensor one = (graph.gradient[i] * along[i]).sum();
              product = product.defined() ? product + one : one;
            }
            std::vector<at::Tensor> inputs = {graph.images};
            if (soft) inputs.push_back(graph.labels);
            if (by_theta) {
              inputs.insert(inputs.end(), graph.slices.begin(),
                            graph.slices.end());
            }
            const std::vector<at::Tensor> derivatives = torch::autograd::grad(
                {product}, inputs, {}, c10::nullopt, /*create_graph=*/false,
                /*allow_unused=*/true);
            if (by_theta) {
              StoreFlat(
                  network,
                  {derivatives.begin() + (soft ? 2 : 1), derivatives.end()},
                  row);
            }
            row[parameters].copy_(product.detach());
            if (derivatives[0].defined()) {
              adjoint.image_rows.narrow(0, part.begin, part.size)
                  .copy_(derivatives[0]);
            }
            if (soft && derivatives[1].defined()) {
              adjoint.label_rows.narrow(0, part.begin, part.size)
                  .copy_(derivatives[1]);
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
