#include "worker/engine/dataset/zca.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/tensor_view.h"
#include "worker/engine/shard/shard_runner.h"

namespace dasm {
namespace {

// Sums of 1024 products of two bytes - 128 are at most 2^24.
constexpr int kOffset = 128;
constexpr int64_t kExactProducts = 1024;

// A tile of a symmetric matrix: rows and columns [begin, begin + size).
struct Range {
  int64_t begin = 0;
  int64_t size = 0;
};

// The upper tiles of a symmetric [D, D] matrix, one a shard.
class SymmetricTiles {
 public:
  SymmetricTiles(int64_t dimensions, int64_t tile)
      : dimensions_(dimensions), tile_(std::min(tile, dimensions)) {
    const int64_t count = (dimensions + tile_ - 1) / tile_;
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = i; j < count; ++j) pairs_.emplace_back(At(i), At(j));
    }
  }

  // [tiles, tile^2], on every rank. `compute` returns the [rows.size,
  // columns.size] tile on the runner's device.
  using Compute = absl::FunctionRef<at::Tensor(Range rows, Range columns)>;
  absl::StatusOr<at::Tensor> Gather(const ShardRunner& runner,
                                    at::ScalarType dtype,
                                    Compute compute) const {
    return runner.Gather(
        static_cast<int64_t>(pairs_.size()), tile_ * tile_, dtype,
        [&](int64_t shard, const at::Tensor& row) {
          const auto& [rows, columns] = pairs_[shard];
          row.zero_();
          View(row, rows, columns).copy_(compute(rows, columns));
        });
  }

  // The [D, D] matrix of gathered tiles.
  at::Tensor Assemble(const at::Tensor& shards) const {
    at::Tensor whole = at::empty({dimensions_, dimensions_}, shards.options());
    const auto put = [&whole](Range at, Range across, const at::Tensor& from) {
      whole.narrow(0, at.begin, at.size)
          .narrow(1, across.begin, across.size)
          .copy_(from);
    };
    for (size_t shard = 0; shard < pairs_.size(); ++shard) {
      const auto& [rows, columns] = pairs_[shard];
      const at::Tensor tile =
          View(shards[static_cast<int64_t>(shard)], rows, columns);
      put(rows, columns, tile);
      if (rows.begin != columns.begin) put(columns, rows, tile.t());
    }
    return whole;
  }

 private:
  static at::Tensor View(const at::Tensor& row, Range rows, Range columns) {
    return row.narrow(0, 0, rows.size * columns.size)
        .view({rows.size, columns.size});
  }
  Range At(int64_t i) const {
    return {i * tile_, std::min(tile_, dimensions_ - i * tile_)};
  }

  const int64_t dimensions_;
  const int64_t tile_;
  std::vector<std::pair<Range, Range>> pairs_;
};

// [n, columns.size]: images [begin, begin + n), as bytes - 128.
at::Tensor CentredBytes(const ByteImages& images, int64_t begin, int64_t n,
                        Range columns) {
  at::Tensor values = at::empty({n, columns.size}, at::kFloat);
  float* to = values.mutable_data_ptr<float>();
  for (int64_t i = begin; i < begin + n; ++i) {
    const uint8_t* from = images.Bytes(i).data() + columns.begin;
    for (int64_t k = 0; k < columns.size; ++k) {
      *to++ = static_cast<float>(int{from[k]} - kOffset);
    }
  }
  return values;
}

// Sum over the images of the products of their centred bytes, exact: fp64
// [rows.size, columns.size].
at::Tensor SumOfProducts(const ByteImages& images, int64_t chunk, Range rows,
                         Range columns, at::Device device) {
  at::Tensor sum = at::zeros({rows.size, columns.size},
                             at::TensorOptions(device).dtype(at::kDouble));
  for (int64_t begin = 0; begin < images.size(); begin += chunk) {
    const int64_t n = std::min(chunk, images.size() - begin);
    const at::Tensor a = CentredBytes(images, begin, n, rows).to(device);
    const at::Tensor b =
        rows.begin == columns.begin
            ? a
            : CentredBytes(images, begin, n, columns).to(device);
    sum.add_(at::mm(a.t(), b));
  }
  return sum;
}

// Exact sums of centred bytes, fp64 [D].
at::Tensor SumOfBytes(const ByteImages& images) {
  const int64_t dimensions = images.shape().elements();
  std::vector<int64_t> sums(dimensions);
  for (int64_t i = 0; i < images.size(); ++i) {
    const absl::Span<const uint8_t> bytes = images.Bytes(i);
    for (int64_t d = 0; d < dimensions; ++d) sums[d] += int{bytes[d]} - kOffset;
  }
  return at::tensor(sums, at::kLong).to(at::kDouble);
}

// Eigenvalues (ascending, not below 0) and eigenvectors, found by rank 0, which
// alone has the matrix.
absl::StatusOr<std::pair<at::Tensor, at::Tensor>> Eigen(int64_t dimensions,
                                                        at::Tensor covariance,
                                                        Collective* collective,
                                                        at::Device device) {
  // Values in row 0: one message.
  at::Tensor message = at::empty({dimensions + 1, dimensions}, at::kDouble);
  if (collective->rank() == 0) {
    auto [values, vectors] = at::linalg_eigh(covariance.cpu());
    covariance.reset();
    message[0].copy_(values.clamp_min(0));
    message.narrow(0, 1, dimensions).copy_(vectors);
  }
  DASM_RETURN_IF_ERROR(collective->Broadcast(absl::MakeSpan(
      static_cast<char*>(message.mutable_data_ptr()), message.nbytes())));
  message = message.to(device);
  return std::pair(message[0], message.narrow(0, 1, dimensions));
}

}  // namespace

at::Tensor Zca::Whiten(const at::Tensor& pixels) const {
  return at::mm(pixels.flatten(1) - mean, whiten).view(pixels.sizes());
}

at::Tensor Zca::Unwhiten(const at::Tensor& whitened) const {
  return (at::mm(whitened.flatten(1), unwhiten) + mean).view(whitened.sizes());
}

absl::StatusOr<ZcaFit> FitZca(const ByteImages& images,
                              const ZcaOptions& options, Collective* collective,
                              at::Device device) {
  TORCH_CHECK(images.size() >= 2 && options.tile > 0 && options.chunk > 0 &&
                  options.chunk <= kExactProducts,
              "ZCA needs two images, and chunks of at most 1024");
  const auto count = static_cast<double>(images.size());
  const ShardRunner runner(collective, device);
  const SymmetricTiles tiles(images.shape().elements(), options.tile);

  const at::Tensor sum = SumOfBytes(images).to(device);
  // With integers S and s: Cov = (N S - s s^T) / (N (N - 1) 255^2). Numerators
  // are exact: below 2^53 up to some 700,000 images.
  DASM_ASSIGN_OR_RETURN(
      at::Tensor shards,
      tiles.Gather(runner, at::kDouble, [&](Range rows, Range columns) {
        at::Tensor tile =
            SumOfProducts(images, options.chunk, rows, columns, device);
        tile.mul_(count);
        tile.sub_(at::outer(sum.narrow(0, rows.begin, rows.size),
                            sum.narrow(0, columns.begin, columns.size)));
        return tile.div_(count * (count - 1) * 255 * 255);
      }));
  at::Tensor covariance;
  if (runner.rank() == 0) covariance = tiles.Assemble(shards);
  shards.reset();
  DASM_ASSIGN_OR_RETURN(const auto eigen,
                        Eigen(images.shape().elements(), std::move(covariance),
                              collective, device));
  const auto& [values, vectors] = eigen;
  const at::Tensor root = (values + options.epsilon).sqrt();

  ZcaFit fit;
  const auto matrix =
      [&](const at::Tensor& diagonal) -> absl::StatusOr<at::Tensor> {
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor of_ranks,
        tiles.Gather(runner, at::kFloat, [&](Range rows, Range columns) {
          return at::mm(vectors.narrow(0, rows.begin, rows.size) * diagonal,
                        vectors.narrow(0, columns.begin, columns.size).t());
        }));
    return tiles.Assemble(of_ranks);
  };
  DASM_ASSIGN_OR_RETURN(fit.zca.whiten, matrix(root.reciprocal()));
  DASM_ASSIGN_OR_RETURN(fit.zca.unwhiten, matrix(root));
  fit.zca.mean = ((sum / count + kOffset) / 255).to(at::kFloat);
  fit.smallest_eigenvalue = values[0].item<double>();
  fit.largest_eigenvalue = values[values.numel() - 1].item<double>();
  return fit;
}

absl::StatusOr<Zca> LoadZca(const std::string& path, int64_t dimensions) {
  const auto bad = [&](absl::string_view what) {
    return WithFailureClass(
        absl::FailedPreconditionError(absl::StrCat(path, ": ", what)),
        FailureClass::kData);
  };
  const auto file = SafetensorsFile::Open(path);
  if (!file.ok()) return bad(file.status().message());
  Zca zca;
  for (const auto& [name, tensor] :
       {std::pair("mean", &zca.mean), std::pair("whiten", &zca.whiten),
        std::pair("unwhiten", &zca.unwhiten)}) {
    const bool vector = tensor == &zca.mean;
    const auto view = (*file)->Get(name, DType::kF32, vector ? 1 : 2);
    if (!view.ok()) return bad(view.status().message());
    const std::vector<int64_t> expected =
        vector ? std::vector<int64_t>{dimensions}
               : std::vector<int64_t>{dimensions, dimensions};
    if (view->shape != expected) {
      return bad(absl::StrCat("a whitening of ", view->shape[0],
                              " values an image where the data set has ",
                              dimensions));
    }
    *tensor = CopyTensor(*view);
  }
  return zca;
}

}  // namespace dasm
