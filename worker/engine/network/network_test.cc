#include "worker/engine/network/network.h"

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <tuple>

#include "common/base/error.h"
#include "gtest/gtest.h"
#include "worker/engine/network/average_pool.h"
#include "worker/engine/network/finite_differences.h"

namespace dasm {
namespace {

std::unique_ptr<Network> Make(Norm norm, int depth, int width, ImageShape shape,
                              int classes) {
  NetworkSpec spec;
  spec.norm = norm;
  spec.depth = depth;
  spec.width = width;
  auto network = MakeNetwork(spec, shape, classes);
  EXPECT_TRUE(network.ok()) << network.status();
  return *std::move(network);
}

TEST(Network, ParameterCountsAreThoseOfTheReference) {
  struct Case {
    int depth;
    ImageShape shape;
    int classes;
    int64_t parameters;
    int64_t features;
  };
  for (const Case& c : {Case{3, {3, 32, 32}, 10, 320010, 2048},
                        Case{3, {3, 32, 32}, 100, 504420, 2048},
                        Case{4, {3, 64, 64}, 200, 857160, 2048},
                        Case{3, {1, 28, 28}, 10, 317706, 2048},
                        Case{5, {3, 128, 128}, 10, 615690, 2048}}) {
    const auto network =
        Make(Norm::kInstance, c.depth, 128, c.shape, c.classes);
    EXPECT_EQ(network->parameters().total(), c.parameters);
    EXPECT_EQ(network->features(), c.features);
    EXPECT_EQ(network->buffers().total(), 0);
  }
}

TEST(Network, ParametersLieInBlockOrder) {
  const auto network = Make(Norm::kInstance, 3, 128, {3, 32, 32}, 10);
  const std::vector<std::pair<std::string, int64_t>> expected = {
      {"conv0.w", 0},      {"conv0.b", 3456},   {"norm0.w", 3584},
      {"norm0.b", 3712},   {"conv1.w", 3840},   {"conv1.b", 151296},
      {"norm1.w", 151424}, {"norm1.b", 151552}, {"conv2.w", 151680},
      {"conv2.b", 299136}, {"norm2.w", 299264}, {"norm2.b", 299392},
      {"fc.w", 299520},    {"fc.b", 320000}};
  const auto& entries = network->parameters().entries();
  ASSERT_EQ(entries.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(entries[i].name, expected[i].first);
    EXPECT_EQ(entries[i].offset, expected[i].second);
  }
  EXPECT_EQ(entries[4].shape, (std::vector<int64_t>{128, 128, 3, 3}));

  const auto deep = Make(Norm::kInstance, 4, 128, {3, 64, 64}, 200);
  const auto& tail = deep->parameters().entries();
  const std::vector<std::pair<std::string, int64_t>> last = {
      {"conv3.w", 299520}, {"conv3.b", 446976}, {"norm3.w", 447104},
      {"norm3.b", 447232}, {"fc.w", 447360},    {"fc.b", 856960}};
  ASSERT_EQ(tail.size(), 12 + last.size());
  for (size_t i = 0; i < last.size(); ++i) {
    EXPECT_EQ(tail[12 + i].name, last[i].first);
    EXPECT_EQ(tail[12 + i].offset, last[i].second);
  }
}

TEST(Network, WithoutNormHasNoNormParameters) {
  const auto network = Make(Norm::kNone, 2, 8, {3, 8, 8}, 5);
  ASSERT_EQ(network->parameters().entries().size(), 6);
  EXPECT_EQ(network->parameters().entries()[2].name, "conv1.w");
}

TEST(Network, InitialValuesFillTheBoundsOfTheFanIn) {
  const auto network = Make(Norm::kInstance, 3, 64, {3, 32, 32}, 10);
  const RandomStream stream(7, "test.init");
  const at::Tensor flat = network->Initialize(stream);
  const std::vector<at::Tensor> slices = network->Slice(flat);
  // Standard deviation of a uniform variable: bound / sqrt(3).
  const double fan_in[] = {27, 27, 0, 0, 576, 576, 0, 0, 576, 576, 0, 0, 1024};
  for (int i : {0, 4, 8, 12}) {
    const double bound = 1 / std::sqrt(fan_in[i]);
    EXPECT_LE(slices[i].abs().max().item<double>(), bound);
    EXPECT_NEAR(slices[i].std().item<double>(), bound / std::sqrt(3.0),
                0.05 * bound);
    EXPECT_NEAR(slices[i].mean().item<double>(), 0, 0.05 * bound);
  }
  EXPECT_LE(slices[5].abs().max().item<double>(), 1 / std::sqrt(576.0));
  EXPECT_GT(slices[5].abs().max().item<double>(), 0.8 / std::sqrt(576.0));
  EXPECT_TRUE((slices[2] == 1).all().item<bool>());
  EXPECT_TRUE((slices[3] == 0).all().item<bool>());
  EXPECT_TRUE(flat.equal(network->Initialize(stream)));
  EXPECT_FALSE(flat.equal(network->Initialize(stream, 1)));
  EXPECT_FALSE(flat.equal(network->Initialize(stream, 0, 1)));
}

// conv - instance norm - ReLU - average pooling - linear, spelled out.
TEST(Network, OneBlockIsTheHandWrittenFormula) {
  const auto network = Make(Norm::kInstance, 1, 8, {3, 6, 6}, 4);
  const at::Tensor flat = TestTensor({network->parameters().total()}, 0.2);
  const std::vector<at::Tensor> s = network->Slice(flat);
  const at::Tensor images = TestTensor({2, 3, 6, 6});
  const at::Tensor maps = at::conv2d(
      images, s[0], s[1], at::IntArrayRef({1, 1}), at::IntArrayRef({1, 1}));
  const at::Tensor mean = maps.mean({2, 3}, true);
  const at::Tensor variance = (maps - mean).square().mean({2, 3}, true);
  const at::Tensor norm =
      (maps - mean) / (variance + 1e-5).sqrt() * s[2].view({1, -1, 1, 1}) +
      s[3].view({1, -1, 1, 1});
  EXPECT_TRUE(norm.allclose(at::group_norm(maps, 8, s[2], s[3]), 1e-12, 1e-12));
  const at::Tensor features =
      at::avg_pool2d(norm.clamp_min(0), {2, 2}).flatten(1);
  const at::Tensor logits = at::addmm(s[5], features, s[4].t());
  EXPECT_TRUE(network->Forward(s, images, BufferMode::kEval)
                  .allclose(logits, 1e-12, 1e-12));
  EXPECT_TRUE(network->Embed(s, images, BufferMode::kEval)
                  .allclose(features, 1e-12, 1e-12));
}

TEST(Network, SmallGreyImagesArePaddedOnce) {
  const auto network = Make(Norm::kInstance, 3, 8, {1, 28, 28}, 10);
  EXPECT_EQ(network->features(), 8 * 4 * 4);
  const at::Tensor logits = network->Forward(
      network->Slice(network->Initialize(RandomStream(1, "test"))),
      TestTensor({2, 1, 28, 28}).to(at::kFloat), BufferMode::kEval);
  EXPECT_EQ(logits.sizes(), (std::vector<int64_t>{2, 10}));
  EXPECT_EQ(Make(Norm::kInstance, 3, 8, {3, 28, 28}, 10)->features(),
            8 * 3 * 3);
}

TEST(Network, SeveralNetworksAtOnceGiveTheBitsOfEachAlone) {
  const RandomStream stream(3, "test");
  for (Norm norm : {Norm::kNone, Norm::kInstance, Norm::kBatch}) {
    const auto network = Make(norm, 2, 8, {3, 8, 8}, 5);
    const at::Tensor flat = at::stack(
        {network->Initialize(stream, 0), network->Initialize(stream, 1)});
    const at::Tensor images = TestTensor({2, 3, 3, 8, 8}).to(at::kFloat);
    const at::Tensor buffers =
        at::stack({network->InitialBuffers(), network->InitialBuffers()});
    const at::Tensor both = network->Forward(network->Slice(flat), images,
                                             BufferMode::kTrain, buffers);
    ASSERT_EQ(both.sizes(), (std::vector<int64_t>{2, 3, 5}));
    for (int k = 0; k < 2; ++k) {
      const at::Tensor alone_buffers = network->InitialBuffers();
      const at::Tensor alone =
          network->Forward(network->Slice(network->Initialize(stream, k)),
                           images[k], BufferMode::kTrain, alone_buffers);
      EXPECT_TRUE(both[k].equal(alone));
      EXPECT_TRUE(buffers[k].equal(alone_buffers));
    }
    EXPECT_TRUE(
        network->Embed(network->Slice(flat), images, BufferMode::kTrain)[1]
            .equal(network->Embed(network->Slice(flat[1]), images[1],
                                  BufferMode::kTrain)));
  }
}

class NetworkGradient : public ::testing::TestWithParam<Norm> {
 protected:
  at::Tensor Loss(const at::Tensor& images, const at::Tensor& flat) const {
    const at::Tensor logits =
        network_->Forward(network_->Slice(flat), images, BufferMode::kTrain);
    return at::cross_entropy_loss(logits, labels_);
  }

  const std::unique_ptr<Network> network_ =
      Make(GetParam(), 2, 8, {2, 8, 8}, 3);
  const at::Tensor labels_ = at::arange(4, at::kLong).remainder(3);
  const at::Tensor images_ = TestTensor({4, 2, 8, 8});
  const at::Tensor flat_ =
      network_->Initialize(RandomStream(2, "test")).to(at::kDouble);
};

TEST_P(NetworkGradient, MatchesFiniteDifferences) {
  EXPECT_LT(GradientError([&](const at::Tensor& x) { return Loss(x, flat_); },
                          images_),
            1e-6);
  EXPECT_LT(GradientError([&](const at::Tensor& x) { return Loss(images_, x); },
                          flat_),
            1e-6);
}

TEST_P(NetworkGradient, SecondDerivativeMatchesFiniteDifferences) {
  const auto loss = [&](const at::Tensor& x, const at::Tensor& flat) {
    return Loss(x, flat);
  };
  EXPECT_LT(GradientError(DirectionalDerivative(loss, flat_), images_), 1e-6);
  const auto of_parameters = [&](const at::Tensor& flat, const at::Tensor& y) {
    return Loss(images_, flat * y);
  };
  EXPECT_LT(
      GradientError(DirectionalDerivative(of_parameters, at::ones_like(flat_)),
                    flat_),
      1e-6);
}

INSTANTIATE_TEST_SUITE_P(EveryNorm, NetworkGradient,
                         ::testing::Values(Norm::kNone, Norm::kInstance,
                                           Norm::kBatch));

TEST(Network, BatchNormUpdatesItsRunningStatistics) {
  const auto network = Make(Norm::kBatch, 1, 8, {3, 6, 6}, 4);
  const std::vector<at::Tensor> s =
      network->Slice(network->Initialize(RandomStream(2, "test")));
  const at::Tensor images = TestTensor({5, 3, 6, 6}).to(at::kFloat);
  at::Tensor buffers = network->InitialBuffers();
  ASSERT_EQ(buffers.numel(), 16);
  network->Forward(s, images, BufferMode::kTrain, buffers);
  const at::Tensor maps = at::conv2d(
      images, s[0], s[1], at::IntArrayRef({1, 1}), at::IntArrayRef({1, 1}));
  const at::Tensor rows = maps.transpose(0, 1).flatten(1);
  EXPECT_TRUE(buffers.narrow(0, 0, 8).allclose(0.1 * rows.mean(1), 1e-5, 1e-6));
  EXPECT_TRUE(
      buffers.narrow(0, 8, 8).allclose(0.9 + 0.1 * rows.var(1), 1e-5, 1e-6));

  const at::Tensor before = buffers.clone();
  const at::Tensor logits =
      network->Forward(s, images, BufferMode::kEval, buffers);
  EXPECT_TRUE(buffers.equal(before));
  // With running statistics an image does not depend on its batch.
  EXPECT_TRUE(
      network->Forward(s, images.narrow(0, 0, 1), BufferMode::kEval, buffers)
          .allclose(logits.narrow(0, 0, 1), 1e-5, 1e-6));
}

TEST(Network, RefusesWhatItCannotBuild) {
  NetworkSpec spec;
  spec.depth = 6;
  const auto deep = MakeNetwork(spec, {3, 32, 32}, 10);
  ASSERT_FALSE(deep.ok());
  EXPECT_EQ(FieldOf(deep.status()), "network.depth");
  spec.depth = 5;
  EXPECT_TRUE(MakeNetwork(spec, {3, 32, 32}, 10).ok());
  spec.name = "resnet50";
  EXPECT_EQ(FieldOf(MakeNetwork(spec, {3, 32, 32}, 10).status()),
            "network.name");
}

TEST(AveragePool, EqualsTheStockOperatorOnEvenAndOddSizes) {
  for (const auto& [height, width] : {std::pair(6, 8), std::pair(7, 5)}) {
    const at::Tensor maps = TestTensor({2, 3, height, width});
    EXPECT_TRUE(
        AveragePool(maps).allclose(at::avg_pool2d(maps, {2, 2}), 1e-14, 1e-14));
    const auto cube = [](const at::Tensor& x) {
      return AveragePool(x).pow(3).sum();
    };
    EXPECT_LT(GradientError(cube, maps), 1e-7);
    EXPECT_LT(GradientError(DirectionalDerivative(
                                [&](const at::Tensor& x, const at::Tensor& y) {
                                  return cube(x * y);
                                },
                                at::ones_like(maps)),
                            maps),
              1e-7);
  }
}

}  // namespace
}  // namespace dasm
