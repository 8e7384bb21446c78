#include "worker/engine/network/resnet18.h"

#include <ATen/ATen.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "worker/engine/network/average_pool.h"

namespace dasm {
namespace {

constexpr int64_t kStageChannels[] = {64, 128, 256, 512};
constexpr int kBlocks = 2;  // of a stage

}  // namespace

ResNet18::ResNet18(Norm norm, bool average_pooling, ImageShape image_shape,
                   int classes)
    : LayeredNetwork(norm, image_shape, classes),
      average_pooling_(average_pooling),
      stem_stride_(image_shape.height == 64 ? 2 : 1) {
  int64_t channels = kStageChannels[0];
  AddConvolution("stem.conv", channels, image_shape.channels, 3,
                 /*biased=*/false);
  AddNorm("stem.norm", channels);
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < kBlocks; ++block) {
      AddBlock(absl::StrCat("stage", stage, ".block", block), channels,
               kStageChannels[stage]);
      channels = kStageChannels[stage];
    }
  }
  // Grey images of 28 pixels end as 3x3 where pooling rounds down.
  const int64_t side = IsSmallGrey(image_shape) ? 3 : 4;
  AddClassifier(average_pooling_ ? channels * side * side : channels);
}

void ResNet18::AddBlock(const std::string& name, int64_t in, int64_t out) {
  AddConvolution(name + ".conv0", out, in, 3, /*biased=*/false);
  AddNorm(name + ".norm0", out);
  AddConvolution(name + ".conv1", out, out, 3, /*biased=*/false);
  AddNorm(name + ".norm1", out);
  if (in == out) return;
  AddConvolution(name + ".shortcut.conv", out, in, 1, /*biased=*/false);
  AddNorm(name + ".shortcut.norm", out);
}

at::Tensor ResNet18::Block(const at::Tensor& maps, bool halves,
                           LayerPass* pass) const {
  const int64_t stride = halves && !average_pooling_ ? 2 : 1;
  const bool pooled = halves && average_pooling_;
  at::Tensor out = pass->Convolve(maps, {.stride = stride, .biased = false});
  out = pass->Normalize(out).relu_();
  if (pooled) out = AveragePool(out);
  out = pass->Normalize(pass->Convolve(out, {.biased = false}));
  if (!halves) return (out + maps).relu_();
  at::Tensor shortcut =
      pass->Convolve(maps, {.padding = 0, .stride = stride, .biased = false});
  if (pooled) shortcut = AveragePool(shortcut);
  return (out + pass->Normalize(shortcut)).relu_();
}

at::Tensor ResNet18::Features(const at::Tensor& images, LayerPass* pass) const {
  at::Tensor maps = pass->Convolve(ChannelsLast(images),
                                   {.stride = stem_stride_, .biased = false});
  maps = pass->Normalize(maps).relu_();
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < kBlocks; ++block) {
      maps = Block(maps, /*halves=*/stage > 0 && block == 0, pass);
    }
  }
  return average_pooling_ ? maps.flatten(1) : maps.mean({2, 3});
}

}  // namespace dasm
