#include "worker/engine/shard/inner_batch.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

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

// The share of images [begin, begin + images.size(0)) in the batch's loss.
at::Tensor PartLoss(const Network& network,
                    const std::vector<at::Tensor>& slices,
                    const at::Tensor& images, const InnerBatch& batch,
                    int64_t begin) {
  const at::Tensor logits = network.Forward(slices, images, BufferMode::kTrain);
  const at::Tensor labels = batch.labels.narrow(0, begin, images.size(0));
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum) /
         static_cast<double>(batch.images.size(0));
}

// Into the first P values of `row`; what does not depend on anything is 0.
void StoreFlat(const Network& network, const std::vector<at::Tensor>& tensors,
               const at::Tensor& row) {
  const auto& entries = network.parameters().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    const at::Tensor to = row.narrow(0, entries[i].offset, entries[i].size);
    if (tensors[i].defined()) {
      to.copy_(tensors[i].flatten());
    } else {
      to.zero_();
    }
  }
}

}  // namespace

absl::StatusOr<InnerGradient> GradientOf(const Network& network,
                                         const at::Tensor& theta,
                                         const InnerBatch& batch,
                                         const ShardRunner& runner) {
  const int64_t count = batch.images.size(0);
  const int64_t group = GroupOf(network, count, batch.group);
  const int64_t parameters = network.parameters().total();
  const std::vector<at::Tensor> slices = Leaves(network, theta);
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sum,
      runner.Sum(
          (count + group - 1) / group, parameters + 1, theta.scalar_type(),
          [&](int64_t shard, const at::Tensor& row) {
            const int64_t begin = shard * group;
            const at::Tensor images = batch.images.detach().narrow(
                0, begin, std::min(group, count - begin));
            const at::Tensor loss =
                PartLoss(network, slices, images, batch, begin);
            StoreFlat(network, torch::autograd::grad({loss}, slices), row);
            row[parameters].copy_(loss.detach());
          }));
  return InnerGradient{sum[parameters], sum.narrow(0, 0, parameters)};
}

absl::StatusOr<InnerAdjoint> AdjointOf(const Network& network,
                                       const at::Tensor& theta,
                                       const InnerBatch& batch,
                                       const at::Tensor& u,
                                       const ShardRunner& runner) {
  const int64_t count = batch.images.size(0);
  const int64_t group = GroupOf(network, count, batch.group);
  const std::vector<at::Tensor> slices = Leaves(network, theta);
  const std::vector<at::Tensor> along = network.Slice(u.detach());
  InnerAdjoint adjoint;
  adjoint.image_rows = at::zeros_like(batch.images.detach());
  DASM_ASSIGN_OR_RETURN(
      adjoint.parameters,
      runner.Sum(
          (count + group - 1) / group, network.parameters().total(),
          theta.scalar_type(), [&](int64_t shard, const at::Tensor& row) {
            const int64_t begin = shard * group;
            const int64_t size = std::min(group, count - begin);
            const at::Tensor images =
                batch.images.detach().narrow(0, begin, size).clone();
            images.requires_grad_();
            const std::vector<at::Tensor> gradient = torch::autograd::grad(
                {PartLoss(network, slices, images, batch, begin)}, slices, {},
                /*retain_graph=*/true, /*create_graph=*/true);
            at::Tensor product;
            for (size_t i = 0; i < gradient.size(); ++i) {
              const at::Tensor one = (gradient[i] * along[i]).sum();
              product = product.defined() ? product + one : one;
            }
            std::vector<at::Tensor> inputs = slices;
            inputs.push_back(images);
            const std::vector<at::Tensor> derivatives = torch::autograd::grad(
                {product}, inputs, {}, c10::nullopt, /*create_graph=*/false,
                /*allow_unused=*/true);
            StoreFlat(network, derivatives, row);
            if (derivatives.back().defined()) {
              adjoint.image_rows.narrow(0, begin, size)
                  .copy_(derivatives.back());
            }
          }));
  return adjoint;
}

absl::StatusOr<std::vector<at::Tensor>> GatherImageRows(
    const Network& network, const std::vector<at::Tensor>& steps, int64_t group,
    const ShardRunner& runner) {
  if (steps.empty()) return std::vector<at::Tensor>();
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
            const int64_t begin = shard * group;
            const int64_t size = std::min(group, count - begin);
            const at::Tensor slices = row.zero_().view({number, group, image});
            for (int64_t k = 0; k < number; ++k) {
              slices[k]
                  .narrow(0, 0, size)
                  .copy_(steps[k].narrow(0, begin, size).flatten(1));
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
