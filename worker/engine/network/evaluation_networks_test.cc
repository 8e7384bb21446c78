// The networks of evaluation against their definitions spelled out in stock
// operators.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "gtest/gtest.h"
#include "worker/engine/network/finite_differences.h"
#include "worker/engine/network/network.h"

namespace dasm {
namespace {

constexpr ImageShape kSmall = {3, 32, 32};
constexpr ImageShape kTiny = {3, 64, 64};
constexpr ImageShape kGrey = {1, 28, 28};

NetworkSpec Spec(const std::string& name, Norm norm) {
  NetworkSpec spec;
  spec.name = name;
  spec.depth = 0;
  spec.width = 0;
  spec.norm = norm;
  return spec;
}

std::unique_ptr<Network> Make(const std::string& name, Norm norm,
                              ImageShape shape = kSmall, int classes = 10) {
  auto network = MakeNetwork(Spec(name, norm), shape, classes);
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
}

struct Kind {
  std::string name;
  Norm norm;
};

std::vector<Kind> Kinds() {
  return {{"mlp", Norm::kNone},         {"lenet", Norm::kNone},
          {"alexnet", Norm::kNone},     {"vgg11", Norm::kInstance},
          {"vgg11", Norm::kBatch},      {"resnet18", Norm::kInstance},
          {"resnet18", Norm::kBatch},   {"resnet18-ap", Norm::kInstance},
          {"resnet18-ap", Norm::kBatch}};
}

at::Tensor Images(int64_t n, ImageShape shape) {
  return TestTensor({n, shape.channels, shape.height, shape.width});
}

TEST(EvaluationNetworks, ParameterCountsAreThoseOfTheReference) {
  struct Case {
    std::string name;
    ImageShape shape;
    int classes;
    int64_t parameters;
  };
  for (const Case& c : {
           Case{"mlp", kSmall, 10, 411146},
           Case{"mlp", kSmall, 100, 422756},
           Case{"mlp", kSmall, 200, 435656},
           Case{"mlp", kTiny, 200, 1615304},
           Case{"mlp", kGrey, 10, 118282},
           Case{"lenet", kSmall, 10, 62006},
           Case{"lenet", kSmall, 100, 69656},
           Case{"lenet", kTiny, 200, 78156},
           Case{"lenet", kGrey, 10, 61706},
           Case{"alexnet", kSmall, 10, 1872202},
           Case{"alexnet", kSmall, 100, 2148772},
           Case{"alexnet", kTiny, 200, 2456072},
           Case{"alexnet", kGrey, 10, 1865802},
           Case{"vgg11", kSmall, 10, 9231114},
           Case{"vgg11", kSmall, 100, 9277284},
           Case{"vgg11", kTiny, 200, 9328584},
           Case{"vgg11", kGrey, 10, 9229962},
           Case{"resnet18", kSmall, 10, 11173962},
           Case{"resnet18", kSmall, 100, 11220132},
           Case{"resnet18", kTiny, 200, 11271432},
           Case{"resnet18", kGrey, 10, 11172810},
           Case{"resnet18-ap", kSmall, 10, 11250762},
           Case{"resnet18-ap", kGrey, 10, 11213770},
       }) {
    const bool normed = c.name[0] == 'v' || c.name[0] == 'r';
    const auto network = Make(c.name, normed ? Norm::kInstance : Norm::kNone,
                              c.shape, c.classes);
    EXPECT_EQ(network->parameters().total(), c.parameters) << c.name;
    EXPECT_EQ(network->buffers().total(), 0);
    if (!normed) continue;
    // The norm changes no parameter.
    EXPECT_EQ(
        Make(c.name, Norm::kBatch, c.shape, c.classes)->parameters().total(),
        c.parameters);
  }
}

TEST(EvaluationNetworks, ParametersLieInTheOrderOfPyTorch) {
  using Offsets = std::vector<std::pair<std::string, int64_t>>;
  const auto starts_with = [](const Network& network, const Offsets& expected) {
    const auto& entries = network.parameters().entries();
    ASSERT_GE(entries.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(entries[i].name, expected[i].first);
      EXPECT_EQ(entries[i].offset, expected[i].second) << expected[i].first;
    }
  };
  starts_with(*Make("mlp", Norm::kNone), {{"hidden0.w", 0},
                                          {"hidden0.b", 393216},
                                          {"hidden1.w", 393344},
                                          {"hidden1.b", 409728},
                                          {"fc.w", 409856},
                                          {"fc.b", 411136}});
  starts_with(*Make("lenet", Norm::kNone), {{"conv0.w", 0},
                                            {"conv0.b", 450},
                                            {"conv1.w", 456},
                                            {"conv1.b", 2856},
                                            {"hidden0.w", 2872},
                                            {"hidden0.b", 50872},
                                            {"hidden1.w", 50992},
                                            {"hidden1.b", 61072},
                                            {"fc.w", 61156},
                                            {"fc.b", 61996}});
  starts_with(*Make("vgg11", Norm::kInstance), {{"conv0.w", 0},
                                                {"conv0.b", 1728},
                                                {"norm0.w", 1792},
                                                {"norm0.b", 1856},
                                                {"conv1.w", 1920},
                                                {"conv1.b", 75648}});
  starts_with(*Make("resnet18", Norm::kInstance),
              {{"stem.conv.w", 0},
               {"stem.norm.w", 1728},
               {"stem.norm.b", 1792},
               {"stage0.block0.conv0.w", 1856},
               {"stage0.block0.norm0.w", 38720},
               {"stage0.block0.norm0.b", 38784},
               {"stage0.block0.conv1.w", 38848}});
  // The shortcut of a block that changes the shape is its last part.
  const auto resnet = Make("resnet18", Norm::kBatch);
  const auto& entries = resnet->parameters().entries();
  std::vector<std::string> names;
  for (const auto& entry : entries) {
    if (entry.name.starts_with("stage1.block0")) names.push_back(entry.name);
  }
  EXPECT_EQ(names, (std::vector<std::string>{
                       "stage1.block0.conv0.w", "stage1.block0.norm0.w",
                       "stage1.block0.norm0.b", "stage1.block0.conv1.w",
                       "stage1.block0.norm1.w", "stage1.block0.norm1.b",
                       "stage1.block0.shortcut.conv.w",
                       "stage1.block0.shortcut.norm.w",
                       "stage1.block0.shortcut.norm.b"}));
  EXPECT_EQ(entries.back().name, "fc.b");
}

TEST(EvaluationNetworks, RefuseOtherSizesAndNorms) {
  const auto field = [](const std::string& name, Norm norm, ImageShape shape) {
    const auto network = MakeNetwork(Spec(name, norm), shape, 10);
    return network.ok() ? "" : std::string(FieldOf(network.status()));
  };
  for (const Kind& kind : Kinds()) {
    const std::string refused = kind.name == "mlp" ? "" : "network.name";
    for (ImageShape shape : {ImageShape{3, 28, 28}, ImageShape{3, 16, 16},
                             ImageShape{3, 128, 128}, ImageShape{3, 32, 64}}) {
      EXPECT_EQ(field(kind.name, kind.norm, shape), refused) << kind.name;
    }
    EXPECT_EQ(
        field(kind.name, kind.norm == Norm::kNone ? Norm::kBatch : Norm::kNone,
              kSmall),
        "network.norm")
        << kind.name;
  }
  EXPECT_EQ(field("resnet18-ap", Norm::kInstance, kTiny), "network.name");
  EXPECT_EQ(field("resnet50", Norm::kInstance, kSmall), "network.name");
}

TEST(EvaluationNetworks, SeveralNetworksAtOnceGiveTheBitsOfEachAlone) {
  const RandomStream stream(3, "test");
  for (const Kind& kind :
       {Kind{"mlp", Norm::kNone}, Kind{"lenet", Norm::kNone},
        Kind{"vgg11", Norm::kBatch}, Kind{"resnet18-ap", Norm::kBatch}}) {
    const auto network = Make(kind.name, kind.norm);
    const std::vector<at::Tensor> flats = {network->Initialize(stream, 0),
                                           network->Initialize(stream, 1)};
    const at::Tensor images =
        Images(4, kSmall).to(at::kFloat).view({2, 2, 3, 32, 32});
    const at::Tensor buffers =
        at::stack({network->InitialBuffers(), network->InitialBuffers()});
    const at::NoGradGuard no_gradient;
    const at::Tensor both = network->Forward(
        network->Slice(at::stack(flats)), images, BufferMode::kTrain, buffers);
    for (int k = 0; k < 2; ++k) {
      const at::Tensor alone_buffers = network->InitialBuffers();
      EXPECT_TRUE(
          both[k].equal(network->Forward(network->Slice(flats[k]), images[k],
                                         BufferMode::kTrain, alone_buffers)))
          << kind.name;
      EXPECT_TRUE(buffers[k].equal(alone_buffers)) << kind.name;
    }
  }
}

TEST(EvaluationNetworks, InitialValuesFillTheBoundsOfTheFanIn) {
  const auto network = Make("resnet18", Norm::kInstance);
  const std::vector<at::Tensor> slices =
      network->Slice(network->Initialize(RandomStream(7, "test")));
  const auto& entries = network->parameters().entries();
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].name.find("norm") != std::string::npos) {
      const double value = entries[i].name.ends_with(".w") ? 1 : 0;
      EXPECT_TRUE((slices[i] == value).all().item<bool>()) << entries[i].name;
      continue;
    }
    if (entries[i].name == "fc.b") continue;
    const double fan_in = static_cast<double>(entries[i].size) /
                          static_cast<double>(entries[i].shape[0]);
    const double bound = 1 / std::sqrt(fan_in);
    EXPECT_LE(slices[i].abs().max().item<double>(), bound);
    EXPECT_NEAR(slices[i].std().item<double>(), bound / std::sqrt(3.0),
                0.05 * bound)
        << entries[i].name;
  }
}

// The definitions, spelled out: a norm by its formula, everything else by stock
// operators.
class ByHand {
 public:
  ByHand(const Kind& kind, ImageShape shape, std::vector<at::Tensor> slices)
      : kind_(kind), shape_(shape), slices_(std::move(slices)) {}

  at::Tensor Logits(const at::Tensor& images) {
    if (kind_.name == "mlp") return OfMlp(images);
    if (kind_.name == "lenet") return OfLeNet(images);
    if (kind_.name == "alexnet") return OfAlexNet(images);
    return kind_.name == "vgg11" ? OfVgg(images) : OfResNet(images);
  }

 private:
  at::Tensor Next() { return slices_[next_++]; }
  at::Tensor Conv(const at::Tensor& x, int64_t padding, int64_t stride,
                  bool biased) {
    const at::Tensor w = Next();
    const at::Tensor b = biased ? Next() : at::zeros({w.size(0)}, w.options());
    return at::conv2d(x, w, b, at::IntArrayRef({stride, stride}),
                      at::IntArrayRef({padding, padding}));
  }
  at::Tensor Norm2d(const at::Tensor& x) {
    const std::vector<int64_t> over = kind_.norm == Norm::kBatch
                                          ? std::vector<int64_t>{0, 2, 3}
                                          : std::vector<int64_t>{2, 3};
    const at::Tensor mean = x.mean(over, true);
    const at::Tensor variance = (x - mean).square().mean(over, true);
    const at::Tensor w = Next().view({1, -1, 1, 1});
    const at::Tensor b = Next().view({1, -1, 1, 1});
    return (x - mean) / (variance + 1e-5).sqrt() * w + b;
  }
  at::Tensor Linear(const at::Tensor& x) {
    const at::Tensor w = Next();
    return at::matmul(x, w.t()) + Next();
  }
  static at::Tensor Pool(const at::Tensor& x) {
    return at::max_pool2d(x, {2, 2});
  }
  bool grey() const { return shape_ == kGrey; }
  int64_t first_stride() const { return shape_ == kTiny ? 2 : 1; }

  at::Tensor OfMlp(const at::Tensor& images) {
    at::Tensor x = Linear(images.flatten(1)).relu();
    x = Linear(x).relu();
    return Linear(x);
  }
  at::Tensor OfLeNet(const at::Tensor& images) {
    at::Tensor x =
        Pool(Conv(images, grey() ? 2 : 0, first_stride(), true).relu());
    x = Pool(Conv(x, 0, 1, true).relu()).reshape({images.size(0), 400});
    x = Linear(x).relu();
    x = Linear(x).relu();
    return Linear(x);
  }
  at::Tensor OfAlexNet(const at::Tensor& images) {
    at::Tensor x =
        Pool(Conv(images, grey() ? 4 : 2, first_stride(), true).relu());
    x = Pool(Conv(x, 2, 1, true).relu());
    x = Conv(x, 1, 1, true).relu();
    x = Conv(x, 1, 1, true).relu();
    x = Pool(Conv(x, 1, 1, true).relu());
    return Linear(x.reshape({images.size(0), 192 * 4 * 4}));
  }
  at::Tensor OfVgg(const at::Tensor& images) {
    at::Tensor x = images;
    bool first = true;
    for (const std::string step : {"64", "M", "128", "M", "256", "256", "M",
                                   "512", "512", "M", "512", "512", "M"}) {
      if (step == "M") {
        x = Pool(x);
        continue;
      }
      x = Norm2d(Conv(x, first && grey() ? 3 : 1, 1, true)).relu();
      first = false;
    }
    const int64_t stride = first_stride();
    x = at::avg_pool2d(x, {1, 1}, {stride, stride});
    return Linear(x.reshape({images.size(0), 512}));
  }
  at::Tensor OfResNet(const at::Tensor& images) {
    const bool ap = kind_.name == "resnet18-ap";
    at::Tensor x =
        Norm2d(Conv(images, 1, first_stride(), /*biased=*/false)).relu();
    for (int block = 0; block < 8; ++block) {
      const bool halves = block == 2 || block == 4 || block == 6;
      const int64_t stride = halves && !ap ? 2 : 1;
      at::Tensor y = Norm2d(Conv(x, 1, stride, false)).relu();
      if (halves && ap) y = at::avg_pool2d(y, {2, 2}, {2, 2});
      y = Norm2d(Conv(y, 1, 1, false));
      if (halves) {
        x = Conv(x, 0, stride, false);
        if (ap) x = at::avg_pool2d(x, {2, 2}, {2, 2});
        x = Norm2d(x);
      }
      x = (x + y).relu();
    }
    if (!ap) x = at::avg_pool2d(x, {4, 4});
    return Linear(x.reshape({images.size(0), -1}));
  }

  const Kind kind_;
  const ImageShape shape_;
  const std::vector<at::Tensor> slices_;
  size_t next_ = 0;
};

double Difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

TEST(EvaluationNetworks, LogitsAreThoseOfTheDefinitionAtEverySize) {
  for (const Kind& kind : Kinds()) {
    for (ImageShape shape : {kGrey, kSmall, kTiny}) {
      if (kind.name == "resnet18-ap" && shape == kTiny) continue;
      // Which norm it is does not depend on the size.
      if (kind.norm == Norm::kBatch && shape != kSmall) continue;
      const auto network = Make(kind.name, kind.norm, shape, 7);
      const std::vector<at::Tensor> slices =
          network->Slice(network->Initialize(RandomStream(2, "test")));
      const at::Tensor images = Images(2, shape).to(at::kFloat);
      const at::NoGradGuard no_gradient;
      const at::Tensor logits =
          network->Forward(slices, images, BufferMode::kTrain);
      ASSERT_EQ(logits.sizes(), (std::vector<int64_t>{2, 7})) << kind.name;
      EXPECT_LT(Difference(logits, ByHand(kind, shape, slices).Logits(images)),
                1e-4)
          << kind.name << " " << shape.height;
      EXPECT_EQ(network->Embed(slices, images, BufferMode::kTrain).sizes(),
                (std::vector<int64_t>{2, network->features()}))
          << kind.name;
    }
  }
}

// What an inner step and its adjoint need: the gradient, and the derivative of
// its product with a vector. The residual network in single precision, in which
// norms over few pixels magnify rounding; a derivative that lacks a term is
// another vector altogether.
TEST(EvaluationNetworks, TwoDerivativesAreThoseOfTheDefinition) {
  struct Case {
    Kind kind;
    at::ScalarType dtype;
    double tolerance;
  };
  for (const auto& [kind, dtype, tolerance] :
       {Case{{"mlp", Norm::kNone}, at::kDouble, 1e-9},
        Case{{"lenet", Norm::kNone}, at::kDouble, 1e-9},
        Case{{"resnet18", Norm::kInstance}, at::kFloat, 0.02}}) {
    const auto network = Make(kind.name, kind.norm);
    const at::Tensor start = network->Initialize(RandomStream(2, "test"));
    const at::Tensor direction = start.roll(1).to(dtype);
    const int64_t count = kind.norm == Norm::kBatch ? 2 : 1;
    const at::Tensor labels = at::arange(count, at::kLong);
    const auto derivatives = [&](bool by_hand) {
      const at::Tensor flat = start.to(dtype).clone().requires_grad_();
      const at::Tensor images =
          Images(count, kSmall).to(dtype).requires_grad_();
      const std::vector<at::Tensor> slices = network->Slice(flat);
      const at::Tensor logits =
          by_hand ? ByHand(kind, kSmall, slices).Logits(images)
                  : network->Forward(slices, images, BufferMode::kTrain);
      const at::Tensor gradient =
          torch::autograd::grad({at::cross_entropy_loss(logits, labels)},
                                {flat}, {}, true, /*create_graph=*/true)
              .front();
      auto all =
          torch::autograd::grad({(gradient * direction).sum()}, {flat, images});
      all.push_back(gradient.detach());
      return all;
    };
    const auto ours = derivatives(false);
    const auto theirs = derivatives(true);
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_LT(Difference(ours[i], theirs[i]), tolerance)
          << kind.name << " " << i;
    }
  }
}

// The others, along one direction of parameters and images together: the
// derivative of d(t) = <loss's gradient at (theta + t v, images + t w), u>. The
// large tensors stay as they are, which saves most of the time.
TEST(EvaluationNetworks, SecondDerivativesMatchFiniteDifferences) {
  constexpr int64_t kLarge = 100000;
  for (const Kind& kind :
       {Kind{"alexnet", Norm::kNone}, Kind{"vgg11", Norm::kInstance},
        Kind{"vgg11", Norm::kBatch}, Kind{"resnet18", Norm::kBatch},
        Kind{"resnet18-ap", Norm::kInstance},
        Kind{"resnet18-ap", Norm::kBatch}}) {
    const auto network = Make(kind.name, kind.norm);
    const std::vector<at::Tensor> theta = network->Slice(
        network->Initialize(RandomStream(2, "test")).to(at::kDouble));
    const int64_t count = kind.norm == Norm::kBatch ? 2 : 1;
    const at::Tensor images = Images(count, kSmall);
    const at::Tensor w = images.roll(1);
    const at::Tensor labels = at::arange(count, at::kLong);
    const ScalarFunction derivative = [&](const at::Tensor& t) {
      std::vector<at::Tensor> slices = theta;
      std::vector<at::Tensor> small;
      for (size_t i = 0; i < theta.size(); ++i) {
        if (theta[i].numel() > kLarge) continue;
        slices[i] = theta[i] + 0.05 * t * TestTensor(theta[i].sizes(), i);
        if (!t.requires_grad()) slices[i].requires_grad_();
        small.push_back(slices[i]);
      }
      const at::Tensor logits =
          network->Forward(slices, images + t * w, BufferMode::kTrain);
      const auto gradients =
          torch::autograd::grad({at::cross_entropy_loss(logits, labels)}, small,
                                {}, true, t.requires_grad());
      at::Tensor sum = at::zeros({}, at::kDouble);
      for (size_t k = 0; k < small.size(); ++k) {
        const at::Tensor u = TestTensor(small[k].sizes(), 0.5 + k);
        sum = sum + (gradients[k] * u).sum();
      }
      return sum;
    };
    EXPECT_LT(GradientError(derivative, at::zeros({1}, at::kDouble), 1e-8),
              1e-5)
        << kind.name;
  }
}

TEST(EvaluationNetworks, BatchNormKeepsRunningStatistics) {
  for (const std::string name : {"vgg11", "resnet18"}) {
    const auto network = Make(name, Norm::kBatch);
    // Mean and variance of 2752 and 4800 channels.
    EXPECT_EQ(network->buffers().total(), name == "vgg11" ? 5504 : 9600);
    const std::vector<at::Tensor> slices =
        network->Slice(network->Initialize(RandomStream(2, "test")));
    const at::Tensor images = Images(2, kSmall).to(at::kFloat);
    const at::NoGradGuard no_gradient;
    at::Tensor buffers = network->InitialBuffers();
    network->Forward(slices, images, BufferMode::kTrain, buffers);
    // The first norm sees the first convolution; every norm has seen something.
    const at::Tensor bias =
        name == "vgg11" ? slices[1] : at::zeros({64}, at::kFloat);
    const at::Tensor rows =
        at::conv2d(images, slices[0], bias, at::IntArrayRef({1, 1}),
                   at::IntArrayRef({1, 1}))
            .transpose(0, 1)
            .flatten(1);
    EXPECT_TRUE(
        buffers.narrow(0, 0, 64).allclose(0.1 * rows.mean(1), 1e-4, 1e-6));
    EXPECT_TRUE(buffers.narrow(0, 64, 64).allclose(0.9 + 0.1 * rows.var(1),
                                                   1e-4, 1e-6));
    EXPECT_TRUE((buffers != network->InitialBuffers()).all().item<bool>());

    const at::Tensor before = buffers.clone();
    const at::Tensor logits =
        network->Forward(slices, images, BufferMode::kEval, buffers);
    EXPECT_TRUE(buffers.equal(before));
    EXPECT_TRUE(network
                    ->Forward(slices, images.narrow(0, 0, 1), BufferMode::kEval,
                              buffers)
                    .allclose(logits.narrow(0, 0, 1), 1e-4, 1e-5));
  }
}

}  // namespace
}  // namespace dasm
