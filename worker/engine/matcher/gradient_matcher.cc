#include "worker/engine/matcher/gradient_matcher.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "worker/engine/matcher/distance.h"

namespace dasm {

GradientMatcher::GradientMatcher(const Network* network, Options options)
    : network_(network), options_(std::move(options)) {
  for (const auto& entry : network->parameters().entries()) {
    matched_.push_back(IsMatched(options_.layers, entry.shape.size()));
  }
}

std::vector<at::Tensor> GradientMatcher::ParameterGradient(
    const std::vector<at::Tensor>& slices, const at::Tensor& images,
    int64_t label, bool create_graph) const {
  const at::Tensor logits =
      network_->Forward(slices, images, BufferMode::kTrain);
  const at::Tensor labels =
      at::full({images.size(0)}, label, logits.options().dtype(at::kLong));
  const at::Tensor loss = at::cross_entropy_loss(logits, labels);
  std::vector<at::Tensor> matched;
  for (size_t i = 0; i < slices.size(); ++i) {
    if (matched_[i]) matched.push_back(slices[i]);
  }
  return torch::autograd::grad({loss}, matched, {},
                               /*retain_graph=*/create_graph, create_graph);
}

ClassMatch GradientMatcher::Match(const at::Tensor& parameters,
                                  const ClassBatch& batch) const {
  std::vector<at::Tensor> slices = network_->Slice(parameters.detach());
  for (size_t i = 0; i < slices.size(); ++i) {
    slices[i] = slices[i].detach();
    if (matched_[i]) slices[i].requires_grad_();
  }
  const std::vector<at::Tensor> target = ParameterGradient(
      slices, ApplyAugmentation(batch.real, *batch.augmentation), batch.label,
      /*create_graph=*/false);

  const at::Tensor stored = batch.stored.detach().requires_grad_();
  at::Tensor decoded = options_.formation.Decode(stored);
  if (!batch.decoded.empty()) {
    const at::Tensor rows = at::tensor(
        at::ArrayRef<int64_t>(batch.decoded.data(), batch.decoded.size()),
        at::kLong);
    decoded = decoded.index_select(0, rows.to(decoded.device()));
  }
  const at::Tensor images = ApplyAugmentation(
      options_.normalization.Apply(decoded), *batch.augmentation);
  const std::vector<at::Tensor> synthetic =
      ParameterGradient(slices, images, batch.label, /*create_graph=*/true);
  const at::Tensor distance =
      GradientDistance(options_.distance, synthetic, target);
  ClassMatch match;
  match.distance = distance.item<double>();
  match.gradient = torch::autograd::grad({distance}, {stored})[0];
  return match;
}

}  // namespace dasm
