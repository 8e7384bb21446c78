#include "worker/engine/dataset/eigenvectors.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dasm {
namespace {

absl::Span<double> Values(const at::Tensor& tensor) {
  return {tensor.mutable_data_ptr<double>(),
          static_cast<size_t>(tensor.numel())};
}

// Symmetric, with a few large eigenvalues and many that are nearly equal.
at::Tensor Matrix(int64_t n) {
  const at::Tensor wave = at::arange(n * n, at::kDouble).mul(0.37).sin();
  const at::Tensor factor =
      wave.view({n, n}) / at::arange(1, n + 1, at::kDouble);
  return (factor.mm(factor.t()) + at::eye(n, at::kDouble)).contiguous();
}

TEST(Eigenvectors, RowsAreTheVectorsOfAscendingValues) {
  for (const int64_t n : {1, 2, 33, 300}) {
    const at::Tensor matrix = Matrix(n);
    const at::Tensor vectors = matrix.clone();
    const at::Tensor values = at::empty({n}, at::kDouble);
    ASSERT_TRUE(FindEigenvectors(Values(vectors), Values(values)).ok());
    EXPECT_TRUE(
        values.slice(0, 1).ge(values.slice(0, 0, n - 1)).all().item<bool>());
    EXPECT_NEAR(values.sum().item<double>(), matrix.trace().item<double>(),
                1e-10 * n);
    const at::Tensor unit = vectors.mm(vectors.t());
    EXPECT_LT((unit - at::eye(n, at::kDouble)).abs().max().item<double>(),
              1e-12)
        << n;
    const at::Tensor again = (vectors.t() * values).mm(vectors);
    EXPECT_LT((again - matrix).abs().max().item<double>(), 1e-11) << n;
  }
}

// Large enough for OpenBLAS to share the work.
TEST(Eigenvectors, HaveTheSameBitsWhateverThreadsTheCallerHas) {
  const int before = at::get_num_threads();
  const at::Tensor matrix = Matrix(300);
  const at::Tensor values = at::empty({300}, at::kDouble);
  std::vector<at::Tensor> found;
  for (const int threads : {1, 1, 2, 5}) {
    at::set_num_threads(threads);
    found.push_back(matrix.clone());
    ASSERT_TRUE(FindEigenvectors(Values(found.back()), Values(values)).ok());
    EXPECT_EQ(at::get_num_threads(), threads);
    EXPECT_TRUE(found.back().equal(found.front())) << threads;
  }
  at::set_num_threads(before);
}

TEST(Eigenvectors, TheLibraryTellsItsVersion) {
  const auto version = OpenBlasVersion();
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_THAT(*version, ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+.*"));
}

}  // namespace
}  // namespace dasm
