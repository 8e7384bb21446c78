#include "worker/engine/matcher/gradient_matcher.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"
#include "worker/engine/matcher/distance.h"

namespace dasm {
namespace {

// One after another into `row`; what nothing depends on is 0.
void StoreFlat(const std::vector<at::Tensor>& tensors, const at::Tensor& row) {
  int64_t at = 0;
  for (const at::Tensor& tensor : tensors) {
    row.narrow(0, at, tensor.numel()).copy_(tensor.flatten());
    at += tensor.numel();
  }
}

at::Tensor IndexTensor(absl::Span<const int64_t> values, at::Device device) {
  return at::tensor(at::ArrayRef<int64_t>(values.data(), values.size()),
                    at::kLong)
      .to(device);
}

}  // namespace

GradientMatcher::GradientMatcher(const Network* network, Options options)
    : network_(network), options_(std::move(options)) {
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
    int64_t label, int64_t whole, bool create_graph) const {
  const at::Tensor logits =
      network_->Forward(slices, images, BufferMode::kTrain);
  const at::Tensor labels =
      at::full({images.size(0)}, label, logits.options().dtype(at::kLong));
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

at::Tensor GradientMatcher::SyntheticImages(
    const at::Tensor& stored, absl::Span<const int64_t> decoded,
    const AugmentationDraw& augmentation) const {
  at::Tensor images;
  if (decoded.empty()) {
    images = options_.formation.Decode(stored);
  } else {
    // Tile t of stored image i is decoded image t * n + i: only the stored
    // images that are asked for are decoded.
    const int64_t n = stored.size(0);
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
    const at::Tensor some =
        used == n ? stored
                  : stored.index_select(0, IndexTensor(rows, stored.device()));
    images = options_.formation.Decode(some).index_select(
        0, IndexTensor(tiles, stored.device()));
  }
  return ApplyAugmentation(options_.normalization.Apply(images), augmentation);
}

ClassMatch GradientMatcher::Match(const at::Tensor& parameters,
                                  const ClassBatch& batch) const {
  const std::vector<at::Tensor> slices = Leaves(parameters);
  const std::vector<at::Tensor> target = ParameterGradient(
      slices, ApplyAugmentation(batch.real, *batch.augmentation), batch.label,
      batch.real.size(0), /*create_graph=*/false);

  const at::Tensor stored = batch.stored.detach().requires_grad_();
  const at::Tensor images =
      SyntheticImages(stored, batch.decoded, *batch.augmentation);
  const std::vector<at::Tensor> synthetic = ParameterGradient(
      slices, images, batch.label, images.size(0), /*create_graph=*/true);
  const at::Tensor distance =
      GradientDistance(options_.distance, synthetic, target);
  ClassMatch match;
  match.gradient = torch::autograd::grad({distance}, {stored})[0];
  match.distance = distance.detach();
  return match;
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
  const std::vector<at::Tensor> slices = Leaves(parameters);

  DASM_ASSIGN_OR_RETURN(
      const at::Tensor sums,
      runner.Sum(
          std::max(parts_of(real_count), parts_of(synthetic_count)),
          2 * matched_size_, parameters.scalar_type(),
          [&](int64_t part, const at::Tensor& row) {
            row.zero_();
            if (const int64_t size = size_of(part, real_count); size > 0) {
              const at::Tensor images = ApplyAugmentation(
                  batch.real.narrow(0, part * micro_batch, size),
                  *batch.augmentation);
              StoreFlat(ParameterGradient(slices, images, batch.label,
                                          real_count, /*create_graph=*/false),
                        row.narrow(0, 0, matched_size_));
            }
            if (size_of(part, synthetic_count) > 0) {
              const at::Tensor images = SyntheticImages(
                  stored, decoded_of(part), *batch.augmentation);
              StoreFlat(
                  ParameterGradient(slices, images, batch.label,
                                    synthetic_count, /*create_graph=*/false),
                  row.narrow(0, matched_size_, matched_size_));
            }
          }));

  std::vector<at::Tensor> target;
  std::vector<at::Tensor> synthetic;
  int64_t at = 0;
  for (size_t i = 0; i < slices.size(); ++i) {
    if (!matched_[i]) continue;
    const int64_t size = slices[i].numel();
    target.push_back(sums.narrow(0, at, size).view(slices[i].sizes()));
    synthetic.push_back(sums.narrow(0, matched_size_ + at, size)
                            .view(slices[i].sizes())
                            .detach()
                            .requires_grad_());
    at += size;
  }
  const at::Tensor distance =
      GradientDistance(options_.distance, synthetic, target);
  const std::vector<at::Tensor> along = torch::autograd::grad(
      {distance}, synthetic, {}, c10::nullopt, /*create_graph=*/false,
      /*allow_unused=*/true);

  ClassMatch match;
  match.distance = distance.detach();
  DASM_ASSIGN_OR_RETURN(
      match.gradient,
      runner.Sum(
          parts_of(synthetic_count), stored.numel(), parameters.scalar_type(),
          [&](int64_t part, const at::Tensor& row) {
            const at::Tensor pixels = stored.detach().requires_grad_();
            const at::Tensor images =
                SyntheticImages(pixels, decoded_of(part), *batch.augmentation);
            const std::vector<at::Tensor> gradient =
                ParameterGradient(slices, images, batch.label, synthetic_count,
                                  /*create_graph=*/true);
            at::Tensor product;
            for (size_t i = 0; i < gradient.size(); ++i) {
              if (!along[i].defined()) continue;
              const at::Tensor one = (gradient[i] * along[i]).sum();
              product = product.defined() ? product + one : one;
            }
            row.copy_(torch::autograd::grad({product}, {pixels})[0].flatten());
          }));
  match.gradient = match.gradient.view(stored.sizes());
  return match;
}

}  // namespace dasm
