#include "worker/engine/matcher/gradient_matcher.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/engine/matcher/distance.h"

namespace dasm {
namespace {

// Inputs of steps, in this order; what follows is said by each.
enum Input : size_t {
  kParameters,
  kLabel,         // [1]
  kAugmentation,  // of AugmentationDraw::Parameters
  kStored,
  kRows,   // of `stored` that are decoded; none: all
  kTiles,  // of what is decoded; none: all
  kMean,   // [1, C, 1, 1]
  kStd,
};

at::Tensor IndexTensor(absl::Span<const int64_t> values) {
  return UploadIndices(values, at::kCPU);
}

at::Tensor Flat(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> flat;
  for (const at::Tensor& tensor : tensors) flat.push_back(tensor.flatten());
  return at::cat(flat);
}

}  // namespace

GradientMatcher::GradientMatcher(const Network* network, Options options,
                                 StepGraph* graph)
    : network_(network), options_(std::move(options)), graph_(graph) {
  for (const auto& entry : network->parameters().entries()) {
    matched_.push_back(IsMatched(options_.layers, entry.shape.size()));
    if (matched_.back()) matched_size_ += entry.size;
  }
}

std::vector<at::Tensor> GradientMatcher::Leaves(
    const at::Tensor& parameters) const {
  std::vector<at::Tensor> slices = network_->Slice(parameters.detach());
  for (size_t i = 0; i < slices.size(); ++i) {
    slices[i] = slices[i].detach();
    if (matched_[i]) slices[i].requires_grad_();
  }
  return slices;
}

std::vector<at::Tensor> GradientMatcher::ParameterGradient(
    const std::vector<at::Tensor>& slices, const at::Tensor& images,
    const at::Tensor& label, int64_t whole, bool create_graph) const {
  const at::Tensor logits =
      network_->Forward(slices, images, BufferMode::kTrain);
  const at::Tensor labels = label.expand({images.size(0)}).contiguous();
  const at::Tensor loss =
      images.size(0) == whole
          ? at::cross_entropy_loss(logits, labels)
          : at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum) /
                static_cast<double>(whole);
  std::vector<at::Tensor> matched;
  for (size_t i = 0; i < slices.size(); ++i) {
    if (matched_[i]) matched.push_back(slices[i]);
  }
  return torch::autograd::grad({loss}, matched, {},
                               /*retain_graph=*/create_graph, create_graph);
}

StepGraph::Tensors GradientMatcher::Inputs(
    const at::Tensor& parameters, const ClassBatch& batch,
    absl::Span<const int64_t> decoded) const {
  const auto channels = [&](const std::vector<double>& values) {
    return at::tensor(values, at::kDouble)
        .to(parameters.scalar_type())
        .view({1, -1, 1, 1});
  };
  // Tile t of stored image i is decoded image t * n + i: only the stored images
  // that are asked for are decoded.
  const int64_t n = batch.stored.size(0);
  std::vector<int64_t> rows(decoded.begin(), decoded.end());
  for (int64_t& row : rows) row %= n;
  std::sort(rows.begin(), rows.end());
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  const auto used = static_cast<int64_t>(rows.size());
  std::vector<int64_t> tiles(decoded.begin(), decoded.end());
  for (int64_t& tile : tiles) {
    const int64_t row =
        std::lower_bound(rows.begin(), rows.end(), tile % n) - rows.begin();
    tile = tile / n * used + row;
  }
  if (used == n) rows.clear();
  return {parameters,
          at::full({1}, batch.label, at::kLong),
          batch.augmentation->Parameters(),
          batch.stored.detach(),
          IndexTensor(rows),
          IndexTensor(tiles),
          channels(options_.normalization.mean),
          channels(options_.normalization.std)};
}

at::Tensor GradientMatcher::SyntheticImages(
    const AugmentationPlan& augmentation, const StepGraph::Tensors& inputs,
    const at::Tensor& stored) const {
  const at::Tensor& rows = inputs[kRows];
  const at::Tensor& tiles = inputs[kTiles];
  at::Tensor images = options_.formation.Decode(
      rows.numel() == 0 ? stored : stored.index_select(0, rows));
  if (tiles.numel() > 0) images = images.index_select(0, tiles);
  return ApplyAugmentation((images - inputs[kMean]) / inputs[kStd],
                           augmentation, inputs[kAugmentation]);
}

template <typename Step, typename... More>
StepGraph::Tensors GradientMatcher::Run(absl::string_view name,
                                        const ClassBatch& batch,
                                        const StepGraph::Tensors& inputs,
                                        Step step, More... more) const {
  const AugmentationPlan& plan = *batch.augmentation;
  return RunStep(
      graph_, inputs[kParameters].device(),
      absl::StrCat("match ", name, " ", more..., " ", plan.Key()), inputs,
      [matcher = *this, plan, step, more...](const StepGraph::Tensors& in) {
        return (matcher.*step)(plan, in, more...);
      });
}

StepGraph::Tensors GradientMatcher::MatchStep(
    const AugmentationPlan& augmentation, const StepGraph::Tensors& in) const {
  const at::Tensor& real = in.back();
  const std::vector<at::Tensor> slices = Leaves(in[kParameters]);
  const std::vector<at::Tensor> target = ParameterGradient(
      slices, ApplyAugmentation(real, augmentation, in[kAugmentation]),
      in[kLabel], real.size(0), /*create_graph=*/false);

  const at::Tensor stored = in[kStored].detach().requires_grad_();
  const at::Tensor images = SyntheticImages(augmentation, in, stored);
  const std::vector<at::Tensor> synthetic = ParameterGradient(
      slices, images, in[kLabel], images.size(0), /*create_graph=*/true);
  const at::Tensor distance =
      GradientDistance(options_.distance, synthetic, target);
  return {torch::autograd::grad({distance}, {stored})[0], distance.detach()};
}

StepGraph::Tensors GradientMatcher::RealStep(
    const AugmentationPlan& augmentation, const StepGraph::Tensors& in,
    int64_t whole) const {
  return {Flat(ParameterGradient(
      Leaves(in[kParameters]),
      ApplyAugmentation(in.back(), augmentation, in[kAugmentation]), in[kLabel],
      whole, /*create_graph=*/false))};
}

StepGraph::Tensors GradientMatcher::SyntheticStep(
    const AugmentationPlan& augmentation, const StepGraph::Tensors& in,
    int64_t whole) const {
  return {Flat(ParameterGradient(Leaves(in[kParameters]),
                                 SyntheticImages(augmentation, in, in[kStored]),
                                 in[kLabel], whole, /*create_graph=*/false))};
}

StepGraph::Tensors GradientMatcher::ProductStep(
    const AugmentationPlan& augmentation, const StepGraph::Tensors& in,
    int64_t whole) const {
  const at::Tensor stored = in[kStored].detach().requires_grad_();
  const std::vector<at::Tensor> gradient = ParameterGradient(
      Leaves(in[kParameters]), SyntheticImages(augmentation, in, stored),
      in[kLabel], whole, /*create_graph=*/true);
  at::Tensor product;
  int64_t at = 0;
  for (const at::Tensor& one : gradient) {
    const at::Tensor along =
        in.back().narrow(0, at, one.numel()).view(one.sizes());
    at += one.numel();
    if (!IsCompared(options_.distance, one.dim())) continue;
    const at::Tensor sum = (one * along).sum();
    product = product.defined() ? product + sum : sum;
  }
  return {torch::autograd::grad({product}, {stored})[0].flatten()};
}

ClassMatch GradientMatcher::Match(const at::Tensor& parameters,
                                  const ClassBatch& batch) const {
  StepGraph::Tensors inputs = Inputs(parameters, batch, batch.decoded);
  inputs.push_back(batch.real);
  const StepGraph::Tensors results =
      Run("whole", batch, inputs, &GradientMatcher::MatchStep);
  return {.distance = results[1], .gradient = results[0]};
}

absl::StatusOr<ClassMatch> GradientMatcher::MatchInParts(
    const at::Tensor& parameters, const ClassBatch& batch, int64_t micro_batch,
    const ShardRunner& runner) const {
  TORCH_CHECK(network_->buffers().total() == 0,
              "BatchNorm couples the images of a batch: they have no parts");
  const at::Tensor stored = batch.stored.detach().contiguous();
  std::vector<int64_t> decoded(batch.decoded.begin(), batch.decoded.end());
  if (decoded.empty()) {
    decoded.resize(stored.size(0) * options_.formation.tiles());
    std::iota(decoded.begin(), decoded.end(), int64_t{0});
  }
  const auto synthetic_count = static_cast<int64_t>(decoded.size());
  const int64_t real_count = batch.real.size(0);
  const auto parts_of = [&](int64_t count) {
    return (count + micro_batch - 1) / micro_batch;
  };
  const auto size_of = [&](int64_t part, int64_t count) {
    return std::clamp(count - part * micro_batch, int64_t{0}, micro_batch);
  };
  const auto decoded_of = [&](int64_t part) {
    return absl::MakeConstSpan(decoded).subspan(part * micro_batch,
                                                size_of(part, synthetic_count));
  };
  const auto inputs_of = [&](int64_t part) {
    return Inputs(parameters, batch, decoded_of(part));
  };

  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sums,
      runner.Sum(
          std::max(parts_of(real_count), parts_of(synthetic_count)),
          2 * matched_size_, parameters.scalar_type(),
          [&](int64_t part, const at::Tensor& row) {
            row.zero_();
            if (const int64_t size = size_of(part, real_count); size > 0) {
              StepGraph::Tensors inputs = inputs_of(0);
              inputs.resize(kStored);
              inputs.push_back(batch.real.narrow(0, part * micro_batch, size));
              row.narrow(0, 0, matched_size_)
                  .copy_(Run("real", batch, inputs, &GradientMatcher::RealStep,
                             real_count)[0]);
            }
            if (size_of(part, synthetic_count) > 0) {
              row.narrow(0, matched_size_, matched_size_)
                  .copy_(Run("synthetic", batch, inputs_of(part),
                             &GradientMatcher::SyntheticStep,
                             synthetic_count)[0]);
            }
          }));

  std::vector<at::Tensor> target;
  std::vector<at::Tensor> synthetic;
  int64_t at = 0;
  const auto& entries = network_->parameters().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!matched_[i]) continue;
    const int64_t size = entries[i].size;
    target.push_back(sums.narrow(0, at, size).view(entries[i].shape));
    synthetic.push_back(sums.narrow(0, matched_size_ + at, size)
                            .view(entries[i].shape)
                            .detach()
                            .requires_grad_());
    at += size;
  }
  const at::Tensor distance =
      GradientDistance(options_.distance, synthetic, target);
  std::vector<at::Tensor> along = torch::autograd::grad(
      {distance}, synthetic, {}, c10::nullopt, /*create_graph=*/false,
      /*allow_unused=*/true);
  for (size_t i = 0; i < along.size(); ++i) {
    if (!along[i].defined()) along[i] = at::zeros_like(synthetic[i]);
  }
  const at::Tensor flat_along = Flat(along);

  ClassMatch match;
  match.distance = distance.detach();
  DASM_ASSIGN_OR_RETURN(
      match.gradient, runner.Sum(parts_of(synthetic_count), stored.numel(),
                                 parameters.scalar_type(),
                                 [&](int64_t part, const at::Tensor& row) {
                                   StepGraph::Tensors inputs = inputs_of(part);
                                   inputs.push_back(flat_along);
                                   row.copy_(Run("product", batch, inputs,
                                                 &GradientMatcher::ProductStep,
                                                 synthetic_count)[0]);
                                 }));
  match.gradient = match.gradient.view(stored.sizes());
  return match;
}

}  // namespace dasm
