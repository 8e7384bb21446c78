#include "server/planner/network_cost.h"

#include <algorithm>

#include "common/base/logging.h"

namespace dasm {
namespace {

struct Shape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t pixels() const { return height * width; }
  int64_t size() const { return channels * pixels(); }
};

struct Window {
  int kernel = 3;
  int padding = 1;
  int stride = 1;
  bool bias = true;
};

// Adds layer after layer to a cost, following the shape of an image.
class LayerCount {
 public:
  LayerCount(Shape input, Norm norm) : shape_(input), norm_(norm) {}

  const Shape& shape() const { return shape_; }
  // Back to where a shortcut leaves.
  void set_shape(Shape shape) { shape_ = shape; }

  void Convolution(int64_t filters, const Window& window) {
    const int64_t weights =
        shape_.channels * filters * window.kernel * window.kernel;
    shape_ = {filters, Reduced(shape_.height, window),
              Reduced(shape_.width, window)};
    cost_.parameters += weights + (window.bias ? filters : 0);
    cost_.convolution_weights += weights;
    cost_.weights += weights;
    cost_.tensors += window.bias ? 2 : 1;
    multiply_adds_ += static_cast<double>(weights * shape_.pixels());
    Keep();
  }
  void Normalize() {
    if (norm_ == Norm::kNone) return;
    cost_.parameters += 2 * shape_.channels;
    cost_.tensors += 2;
    if (norm_ == Norm::kBatch) cost_.buffers += 2 * shape_.channels;
    Keep();
  }
  void Relu() { Keep(); }
  // Of 2 x 2 windows unless told otherwise; rounds down.
  void Pool(int size = 2, int stride = 0) {
    const Window window = {size, 0, stride > 0 ? stride : size};
    shape_.height = Reduced(shape_.height, window);
    shape_.width = Reduced(shape_.width, window);
    cost_.activations += shape_.size();
  }
  void Add() { Keep(); }
  void Linear(int64_t features) {
    const int64_t weights = shape_.size() * features;
    shape_ = {features, 1, 1};
    cost_.parameters += weights + features;
    cost_.weights += weights;
    cost_.tensors += 2;
    multiply_adds_ += static_cast<double>(weights);
  }
  void HiddenLinear(int64_t features) {
    Linear(features);
    Keep();
    Relu();
  }

  NetworkCost Finish(int classes) {
    Linear(classes);
    cost_.forward_flops = 2 * multiply_adds_;
    return cost_;
  }

 private:
  static int64_t Reduced(int64_t side, const Window& window) {
    const int64_t span = side + 2 * window.padding - window.kernel;
    return span < 0 ? 0 : span / window.stride + 1;
  }
  void Keep() {
    cost_.activations += shape_.size();
    cost_.largest_layer = std::max(cost_.largest_layer, shape_.size());
  }

  Shape shape_;
  const Norm norm_;
  NetworkCost cost_;
  double multiply_adds_ = 0;
};

// Grey images of 28 pixels are padded to 32 by the first convolution.
bool IsPadded(const Shape& input) {
  return input.channels == 1 && input.height == 28 && input.width == 28;
}

bool IsLarge(const Shape& input) { return input.height == 64; }

NetworkCost ConvNet(const NetworkSpec& network, LayerCount layers,
                    int classes) {
  for (int block = 0; block < network.depth; ++block) {
    const bool padded = block == 0 && IsPadded(layers.shape());
    layers.Convolution(network.width, {.padding = padded ? 3 : 1});
    layers.Normalize();
    layers.Relu();
    layers.Pool();
  }
  return layers.Finish(classes);
}

NetworkCost Mlp(LayerCount layers, int classes) {
  layers.HiddenLinear(128);
  layers.HiddenLinear(128);
  return layers.Finish(classes);
}

NetworkCost LeNet(LayerCount layers, int classes) {
  const bool grey = layers.shape().channels == 1;
  const int stride = IsLarge(layers.shape()) ? 2 : 1;
  layers.Convolution(6,
                     {.kernel = 5, .padding = grey ? 2 : 0, .stride = stride});
  layers.Relu();
  layers.Pool();
  layers.Convolution(16, {.kernel = 5, .padding = 0});
  layers.Relu();
  layers.Pool();
  layers.HiddenLinear(120);
  layers.HiddenLinear(84);
  return layers.Finish(classes);
}

NetworkCost AlexNet(LayerCount layers, int classes) {
  const bool grey = layers.shape().channels == 1;
  const int stride = IsLarge(layers.shape()) ? 2 : 1;
  layers.Convolution(128,
                     {.kernel = 5, .padding = grey ? 4 : 2, .stride = stride});
  layers.Relu();
  layers.Pool();
  layers.Convolution(192, {.kernel = 5, .padding = 2});
  layers.Relu();
  layers.Pool();
  for (const int filters : {256, 192, 192}) {
    layers.Convolution(filters, {});
    layers.Relu();
  }
  layers.Pool();
  return layers.Finish(classes);
}

NetworkCost Vgg11(LayerCount layers, int classes) {
  const bool grey = layers.shape().channels == 1;
  const bool large = IsLarge(layers.shape());
  bool first = true;
  for (const auto& [filters, pooled] : {std::pair(64, true),
                                        {128, true},
                                        {256, false},
                                        {256, true},
                                        {512, false},
                                        {512, true},
                                        {512, false},
                                        {512, true}}) {
    layers.Convolution(filters, {.padding = first && grey ? 3 : 1});
    layers.Normalize();
    layers.Relu();
    if (pooled) layers.Pool();
    first = false;
  }
  // It samples every second pixel of 2 x 2.
  if (large) layers.Pool(1, 2);
  return layers.Finish(classes);
}

NetworkCost ResNet18(bool pooled, LayerCount layers, int classes) {
  const int stem_stride = IsLarge(layers.shape()) ? 2 : 1;
  layers.Convolution(64, {.stride = stem_stride, .bias = false});
  layers.Normalize();
  layers.Relu();
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t filters = int64_t{64} << stage;
    for (int block = 0; block < 2; ++block) {
      const bool reduces = stage > 0 && block == 0;
      const int stride = reduces && !pooled ? 2 : 1;
      const Shape input = layers.shape();
      layers.Convolution(filters, {.stride = stride, .bias = false});
      layers.Normalize();
      layers.Relu();
      if (reduces && pooled) layers.Pool();
      layers.Convolution(filters, {.bias = false});
      layers.Normalize();
      const Shape output = layers.shape();
      if (reduces) {
        layers.set_shape(input);
        layers.Convolution(
            filters,
            {.kernel = 1, .padding = 0, .stride = stride, .bias = false});
        if (pooled) layers.Pool();
        layers.Normalize();
        layers.set_shape(output);
      }
      layers.Add();
      layers.Relu();
    }
  }
  if (!pooled) layers.Pool(4);
  return layers.Finish(classes);
}

}  // namespace

NetworkCost CostOf(const NetworkSpec& network, int channels, int height,
                   int width, int classes) {
  const LayerCount layers({channels, height, width}, network.norm);
  if (network.name == "convnet") return ConvNet(network, layers, classes);
  if (network.name == "mlp") return Mlp(layers, classes);
  if (network.name == "lenet") return LeNet(layers, classes);
  if (network.name == "alexnet") return AlexNet(layers, classes);
  if (network.name == "vgg11") return Vgg11(layers, classes);
  DASM_CHECK(network.name == "resnet18" || network.name == "resnet18-ap");
  return ResNet18(network.name == "resnet18-ap", layers, classes);
}

}  // namespace dasm
