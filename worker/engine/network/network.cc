#include "worker/engine/network/network.h"

#include <ATen/ATen.h>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "worker/engine/network/convnet.h"

namespace dasm {

std::vector<at::Tensor> Network::Slice(const at::Tensor& flat) const {
  std::vector<at::Tensor> slices;
  slices.reserve(parameters().entries().size());
  for (const ParameterLayout::Entry& entry : parameters().entries()) {
    std::vector<int64_t> shape = entry.shape;
    if (flat.dim() == 2) shape.insert(shape.begin(), flat.size(0));
    slices.push_back(flat.narrow(-1, entry.offset, entry.size).view(shape));
  }
  return slices;
}

absl::StatusOr<std::unique_ptr<Network>> MakeNetwork(const NetworkSpec& spec,
                                                     ImageShape image_shape,
                                                     int classes) {
  if (spec.name != "convnet") {
    return InvalidField(
        "network.name",
        absl::StrCat("\"", spec.name, "\" is not a network; use convnet"));
  }
  if (spec.depth < 1 || spec.width < 1) {
    return InvalidField("network", "depth and width must be at least 1");
  }
  const int smallest =
      std::min(ConvNet::FirstBlockSize(image_shape, image_shape.height),
               ConvNet::FirstBlockSize(image_shape, image_shape.width));
  if ((smallest >> spec.depth) == 0) {
    return InvalidField(
        "network.depth",
        absl::StrCat("each block halves the image; ", spec.depth,
                     " blocks are too many for ", image_shape.height, "x",
                     image_shape.width, " pixels"));
  }
  return std::make_unique<ConvNet>(spec, image_shape, classes);
}

}  // namespace dasm
