#include "worker/engine/network/network.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/network/alexnet.h"
#include "worker/engine/network/convnet.h"
#include "worker/engine/network/lenet.h"
#include "worker/engine/network/mlp.h"
#include "worker/engine/network/resnet18.h"
#include "worker/engine/network/vgg11.h"

namespace dasm {
namespace {

absl::StatusOr<std::unique_ptr<Network>> MakeConvNet(const NetworkSpec& spec,
                                                     ImageShape image_shape,
                                                     int classes) {
  if (spec.depth < 1 || spec.width < 1) {
    return InvalidField("network", "depth and width must be at least 1");
  }
  const int smallest =
      std::min(ConvNet::FirstBlockSize(image_shape, image_shape.height),
               ConvNet::FirstBlockSize(image_shape, image_shape.width));
  // A norm of one pixel is constant: every block sees at least two.
  if ((smallest >> spec.depth) == 0) {
    return InvalidField(
        "network.depth",
        absl::StrCat("each block halves the image; ", spec.depth,
                     " blocks are too many for ", image_shape.height, "x",
                     image_shape.width, " pixels"));
  }
  return std::make_unique<ConvNet>(spec, image_shape, classes);
}

// The sizes that the evaluation networks are defined for.
absl::Status CheckImageSize(const std::string& name, ImageShape shape,
                            bool takes_64) {
  const bool square = shape.height == shape.width;
  if (square && (shape.height == 32 || (takes_64 && shape.height == 64))) {
    return absl::OkStatus();
  }
  if (IsSmallGrey(shape)) return absl::OkStatus();
  return InvalidField(
      "network.name",
      absl::StrCat(name, " takes images of 32x32 ",
                   takes_64 ? "or 64x64 pixels" : "pixels",
                   " and grey ones of 28x28, not of ", shape.channels, "x",
                   shape.height, "x", shape.width, "; use convnet or mlp"));
}

absl::Status CheckNorm(const NetworkSpec& spec, bool has_norm) {
  if (has_norm && spec.norm == Norm::kNone) {
    return InvalidField("network.norm", absl::StrCat(spec.name,
                                                     " needs a norm: use "
                                                     "instance or batch"));
  }
  if (!has_norm && spec.norm != Norm::kNone) {
    return InvalidField("network.norm",
                        absl::StrCat(spec.name, " has no norm: use none"));
  }
  return absl::OkStatus();
}

}  // namespace

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
  if (spec.name == "convnet") return MakeConvNet(spec, image_shape, classes);
  if (spec.name == "mlp") {
    DASM_RETURN_IF_ERROR(CheckNorm(spec, /*has_norm=*/false));
    return std::make_unique<Mlp>(image_shape, classes);
  }
  if (spec.name == "lenet" || spec.name == "alexnet") {
    DASM_RETURN_IF_ERROR(CheckNorm(spec, /*has_norm=*/false));
    DASM_RETURN_IF_ERROR(CheckImageSize(spec.name, image_shape, true));
    if (spec.name == "lenet") {
      return std::make_unique<LeNet>(image_shape, classes);
    }
    return std::make_unique<AlexNet>(image_shape, classes);
  }
  const bool average_pooling = spec.name == "resnet18-ap";
  if (spec.name == "vgg11" || spec.name == "resnet18" || average_pooling) {
    DASM_RETURN_IF_ERROR(CheckNorm(spec, /*has_norm=*/true));
    DASM_RETURN_IF_ERROR(
        CheckImageSize(spec.name, image_shape, !average_pooling));
    if (spec.name == "vgg11") {
      return std::make_unique<Vgg11>(spec.norm, image_shape, classes);
    }
    return std::make_unique<ResNet18>(spec.norm, average_pooling, image_shape,
                                      classes);
  }
  return InvalidField(
      "network.name",
      absl::StrCat("\"", spec.name,
                   "\" is not a network; use convnet, mlp, lenet, alexnet, "
                   "vgg11, resnet18 or resnet18-ap"));
}

}  // namespace dasm
