#include "worker/engine/dataset/zca.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/random_stream.h"
#include "common/base/temporary_directory.h"
#include "gtest/gtest.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/shard/gang_for_tests.h"

namespace dasm {
namespace {

constexpr double kEpsilon = 0.1;

// 60 images of 3 x 4 x 4 whose neighbouring pixels are alike.
class ZcaTest : public ::testing::Test {
 protected:
  ZcaTest() : bytes_(60 * 48) {
    const RandomStream stream(5, "zca test");
    for (int i = 0; i < 60; ++i) {
      RandomSequence draws = stream.At(i);
      double value = 128;
      for (int d = 0; d < 48; ++d) {
        value = std::clamp(value + 40 * draws.Normal(), 0.0, 255.0);
        bytes_[i * 48 + d] = static_cast<uint8_t>(value);
      }
    }
  }

  ByteImages Images() const {
    return ByteImages(bytes_.data(), {3, 4, 4}, std::vector<int64_t>(60, 0),
                      {{0, 0, 0}, {1, 1, 1}});
  }
  static std::vector<int64_t> All() {
    std::vector<int64_t> all(60);
    for (int i = 0; i < 60; ++i) all[i] = i;
    return all;
  }
  static ZcaFit Fit(const ByteImages& images, const ZcaOptions& options,
                    Collective* collective) {
    auto fit = FitZca(images, options, collective, at::kCPU);
    EXPECT_TRUE(fit.ok()) << fit.status();
    return *std::move(fit);
  }
  ZcaFit Fit(const ZcaOptions& options = {}) const {
    SingleProcessCollective alone;
    return Fit(Images(), options, &alone);
  }

  std::vector<uint8_t> bytes_;
};

TEST_F(ZcaTest, UnwhiteningBringsPixelsBack) {
  const ZcaFit fit = Fit();
  const at::Tensor pixels = Images().Pixels(All());
  const at::Tensor whitened = fit.zca.Whiten(pixels);
  EXPECT_EQ(whitened.sizes(), pixels.sizes());
  EXPECT_GT((whitened - pixels).abs().max().item<double>(), 0.1);
  EXPECT_LT((fit.zca.Unwhiten(whitened) - pixels).abs().max().item<double>(),
            1e-5);
}

TEST_F(ZcaTest, VarianceAlongEachEigenvectorIsWhatEpsilonLeaves) {
  const ZcaFit fit = Fit();
  const at::Tensor pixels = Images().Pixels(All());
  // By the definition, in fp64.
  const at::Tensor x =
      at::tensor(bytes_, at::kByte).view({60, 48}).to(at::kDouble) / 255;
  const at::Tensor centred = x - x.mean(0);
  const auto [s, u] = at::linalg_eigh(centred.t().mm(centred) / 59);
  const at::Tensor along =
      fit.zca.Whiten(pixels).flatten(1).to(at::kDouble).mm(u);
  const at::Tensor expected = s / (s + kEpsilon);
  EXPECT_LT(((along - along.mean(0)).pow(2).sum(0) / 59 - expected)
                .abs()
                .max()
                .item<double>(),
            1e-5);
  EXPECT_NEAR(fit.largest_eigenvalue, s[47].item<double>(), 1e-12);
  EXPECT_NEAR(fit.smallest_eigenvalue, s[0].item<double>(), 1e-12);
  EXPECT_LT(along.mean(0).abs().max().item<double>(), 1e-5);
}

TEST_F(ZcaTest, MatricesAreThoseOfDoublePrecisionButForRounding) {
  const ZcaFit fit = Fit({.tile = 20});
  const at::Tensor x =
      at::tensor(bytes_, at::kByte).view({60, 48}).to(at::kDouble) / 255;
  const at::Tensor centred = x - x.mean(0);
  const auto [s, u] = at::linalg_eigh(centred.t().mm(centred) / 59);
  const at::Tensor root = (s + kEpsilon).sqrt();
  const auto error = [&u = u](const at::Tensor& matrix,
                              const at::Tensor& diagonal) {
    const at::Tensor expected = (u * diagonal).mm(u.t());
    return ((matrix - expected).abs().max() / expected.abs().max())
        .item<double>();
  };
  EXPECT_LT(error(fit.zca.whiten, root.reciprocal()), 3e-7);
  EXPECT_LT(error(fit.zca.unwhiten, root), 3e-7);
  EXPECT_GT(error(fit.zca.unwhiten, root + 1e-6), 3e-7);
  EXPECT_TRUE(fit.zca.ForWhitening()
                  .Whiten(Images().Pixels(All()))
                  .equal(fit.zca.Whiten(Images().Pixels(All()))));
}

// Black and white images: a product that saturates anywhere shows.
TEST_F(ZcaTest, ProductsOfBytesAndOfFloatsAreTheSame) {
  std::vector<uint8_t> bytes(300 * 108);
  RandomSequence draws = RandomStream(7, "zca test").At(0);
  for (uint8_t& byte : bytes) byte = draws.Below(8) == 0 ? 0 : 255;
  const ByteImages images(bytes.data(), {3, 6, 6}, std::vector<int64_t>(300, 0),
                          {{0, 0, 0}, {1, 1, 1}});
  SingleProcessCollective alone;
  const ZcaFit of_floats =
      Fit(images, {.tile = 40, .byte_products = false}, &alone);
  const ZcaFit of_bytes = Fit(images, {.tile = 40, .chunk = 77}, &alone);
  EXPECT_EQ(of_bytes.largest_eigenvalue, of_floats.largest_eigenvalue);
  EXPECT_TRUE(of_bytes.zca.whiten.equal(of_floats.zca.whiten));
  EXPECT_TRUE(of_bytes.zca.unwhiten.equal(of_floats.zca.unwhiten));
}

TEST_F(ZcaTest, StopsWhenToldTo) {
  SingleProcessCollective alone;
  int calls = 0;
  const auto stop_at = [&](int call) {
    calls = 0;
    return FitZca(Images(), {.chunk = 20}, &alone, at::kCPU,
                  [&] {
                    return calls++ == call ? absl::CancelledError("now")
                                           : absl::OkStatus();
                  })
        .status();
  };
  // Three chunks, two matrices.
  EXPECT_TRUE(stop_at(5).ok());
  EXPECT_EQ(calls, 5);
  for (int call = 0; call < 5; ++call) {
    EXPECT_TRUE(absl::IsCancelled(stop_at(call)));
    EXPECT_EQ(calls, call + 1);
  }
}

// LAPACK's bits depend on their number, of so many values too.
TEST_F(ZcaTest, ThreadsOfTheCallerAreKeptAndChangeNoBit) {
  std::vector<uint8_t> bytes(200 * 108);
  RandomSequence draws = RandomStream(6, "zca test").At(0);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(draws.Below(256));
  const ByteImages images(bytes.data(), {3, 6, 6}, std::vector<int64_t>(200, 0),
                          {{0, 0, 0}, {1, 1, 1}});
  SingleProcessCollective alone;
  const int before = at::get_num_threads();
  std::vector<ZcaFit> fits;
  for (int threads : {1, 3}) {
    at::set_num_threads(threads);
    fits.push_back(Fit(images, {}, &alone));
    EXPECT_EQ(at::get_num_threads(), threads);
  }
  at::set_num_threads(before);
  EXPECT_TRUE(fits[0].zca.whiten.equal(fits[1].zca.whiten));
}

TEST_F(ZcaTest, TilesAndChunksChangeNothingButRounding) {
  const ZcaFit whole = Fit();
  const ZcaFit parts = Fit({.tile = 7, .chunk = 11});
  EXPECT_TRUE(parts.zca.mean.equal(whole.zca.mean));
  // The covariance is exact either way.
  EXPECT_EQ(parts.largest_eigenvalue, whole.largest_eigenvalue);
  EXPECT_LT((parts.zca.whiten - whole.zca.whiten).abs().max().item<double>(),
            1e-6);
  EXPECT_LT(
      (parts.zca.unwhiten - whole.zca.unwhiten).abs().max().item<double>(),
      1e-6);
}

TEST_F(ZcaTest, AnyNumberOfRanksGivesTheSameBits) {
  const ZcaOptions options = {.tile = 20};
  const ZcaFit alone = Fit(options);
  for (int ranks : {2, 3}) {
    std::vector<ZcaFit> fits(ranks);
    RunGang(ranks, [&](Collective* collective) {
      fits[collective->rank()] = Fit(Images(), options, collective);
    });
    for (const ZcaFit& fit : fits) {
      EXPECT_TRUE(fit.zca.mean.equal(alone.zca.mean));
      EXPECT_TRUE(fit.zca.whiten.equal(alone.zca.whiten));
      EXPECT_TRUE(fit.zca.unwhiten.equal(alone.zca.unwhiten));
    }
  }
}

// Black and white: the largest sums that a chunk may have.
TEST_F(ZcaTest, CovarianceOfExtremePixelsIsExact) {
  std::vector<uint8_t> bytes(2048 * 2);
  for (int i = 0; i < 2048; ++i) {
    bytes[2 * i] = i % 2 == 0 ? 0 : 255;
    bytes[2 * i + 1] = i < 3 ? 1 : 0;
  }
  const ByteImages images(bytes.data(), {1, 1, 2},
                          std::vector<int64_t>(2048, 0), {{0}, {1}});
  SingleProcessCollective alone;
  const ZcaFit fit = Fit(images, {}, &alone);
  // s along pixel 0 is 1/4 N / (N - 1); the other hardly varies.
  EXPECT_NEAR(fit.largest_eigenvalue, 0.25 * 2048 / 2047, 1e-8);
  const double p = 3.0 / 2048;
  EXPECT_NEAR(fit.smallest_eigenvalue, p * (1 - p) / 255 / 255, 1e-10);
}

TEST_F(ZcaTest, StoredMatricesAreReadAndChecked) {
  const auto folder = *TemporaryDirectory::Create();
  const std::string path = folder->path() + "/zca";
  const ZcaFit fit = Fit();
  ASSERT_TRUE(WriteSafetensors(path, {{"mean", ViewOf(fit.zca.mean)},
                                      {"whiten", ViewOf(fit.zca.whiten)},
                                      {"unwhiten", ViewOf(fit.zca.unwhiten)}})
                  .ok());
  const auto zca = LoadZca(path, 48);
  ASSERT_TRUE(zca.ok()) << zca.status();
  EXPECT_TRUE(zca->whiten.equal(fit.zca.whiten));
  const absl::Status other = LoadZca(path, 49).status();
  EXPECT_EQ(FailureClassOf(other), FailureClass::kData);
  EXPECT_NE(other.message().find("48 values an image"), std::string::npos)
      << other;
  EXPECT_EQ(FailureClassOf(LoadZca(path + "x", 48).status()),
            FailureClass::kData);
}

}  // namespace
}  // namespace dasm
