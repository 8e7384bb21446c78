#include "worker/engine/dataset/zca.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "common/artifact/safetensors.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/engine/dataset/eigenvectors.h"
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

// In the form that ProductOfRows wants.
at::Tensor Pack(const at::Tensor& matrix) {
  return matrix.is_cpu() && !matrix.is_mkldnn() && at::hasMKLDNN()
             ? matrix.to_mkldnn()
             : matrix;
}

// a b^T of fp32 matrices, packed or not. On the CPU oneDNN's product uses the
// widest vectors of any vendor's; that of MKL does on Intel's alone.
at::Tensor ProductOfRows(const at::Tensor& a, const at::Tensor& b) {
  if (!a.is_cpu() || !at::hasMKLDNN()) return at::mm(a, b.t());
  return at::mkldnn_linear(Pack(a), Pack(b)).to_dense();
}

// Whether sums of `terms` products of int8 are what they should be: without
// VNNI oneDNN's saturate in 16 bits on the way.
bool AreByteProductsExact(int64_t rows, int64_t columns, int64_t terms) {
  for (int a : {-128, 127}) {
    for (int b : {-128, 127}) {
      const at::Tensor products =
          at::_int_mm(at::full({terms, rows}, a, at::kChar).t(),
                      at::full({terms, columns}, b, at::kChar));
      if (!products.eq(a * b * terms).all().item<bool>()) return false;
    }
  }
  return true;
}

// In every shape that a covariance takes: a library may choose by it.
bool AreByteProductsExact(const std::vector<Range>& ranges, int64_t images,
                          int64_t chunk) {
  if (!at::hasMKLDNN()) return false;
  for (int64_t terms : {std::min(chunk, images), images % chunk}) {
    if (terms == 0) continue;
    for (const Range& rows : {ranges.front(), ranges.back()}) {
      for (const Range& columns : {ranges.front(), ranges.back()}) {
        if (!AreByteProductsExact(rows.size, columns.size, terms)) return false;
      }
    }
  }
  return true;
}

// The upper tiles of a symmetric [D, D] matrix, one a shard.
class SymmetricTiles {
 public:
  SymmetricTiles(int64_t dimensions, int64_t tile)
      : dimensions_(dimensions), tile_(std::min(tile, dimensions)) {
    for (int64_t at = 0; at < dimensions; at += tile_) {
      ranges_.push_back({at, std::min(tile_, dimensions - at)});
    }
    for (size_t i = 0; i < ranges_.size(); ++i) {
      for (size_t j = i; j < ranges_.size(); ++j) pairs_.emplace_back(i, j);
    }
  }

  int64_t size() const { return static_cast<int64_t>(pairs_.size()); }
  const std::vector<Range>& ranges() const { return ranges_; }
  // Which ranges are the rows and columns of a tile.
  const std::pair<size_t, size_t>& pair(int64_t tile) const {
    return pairs_[tile];
  }

  // [tiles, tile^2], on every rank. `compute` returns a tile, [rows.size,
  // columns.size] on the runner's device.
  using Compute = absl::FunctionRef<at::Tensor(int64_t tile, const Range& rows,
                                               const Range& columns)>;
  absl::StatusOr<at::Tensor> Gather(const ShardRunner& runner,
                                    at::ScalarType dtype,
                                    Compute compute) const {
    return runner.Gather(
        size(), tile_ * tile_, dtype, [&](int64_t tile, const at::Tensor& row) {
          const auto& [i, j] = pairs_[tile];
          const Range& rows = ranges_[i];
          const Range& columns = ranges_[j];
          row.zero_();
          View(row, rows, columns).copy_(compute(tile, rows, columns));
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
    for (int64_t tile = 0; tile < size(); ++tile) {
      const Range& rows = ranges_[pairs_[tile].first];
      const Range& columns = ranges_[pairs_[tile].second];
      const at::Tensor values = View(shards[tile], rows, columns);
      put(rows, columns, values);
      if (rows.begin != columns.begin) put(columns, rows, values.t());
    }
    return whole;
  }

 private:
  static at::Tensor View(const at::Tensor& row, Range rows, Range columns) {
    return row.narrow(0, 0, rows.size * columns.size)
        .view({rows.size, columns.size});
  }

  const int64_t dimensions_;
  const int64_t tile_;
  std::vector<Range> ranges_;
  std::vector<std::pair<size_t, size_t>> pairs_;
};

// [values.size, n]: bytes - 128 of images [begin, begin + n).
at::Tensor CentredBytes(const ByteImages& images, int64_t begin, int64_t n,
                        const Range& values) {
  at::Tensor centred = at::empty({values.size, n}, at::kFloat);
  float* const to = centred.mutable_data_ptr<float>();
  // Transposed in blocks of a cache line.
  constexpr int64_t kBlock = 16;
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    const uint8_t* from[kBlock];
    for (int64_t i = 0; i < count; ++i) {
      from[i] = images.Bytes(begin + first + i).data() + values.begin;
    }
    for (int64_t k = 0; k < values.size; ++k) {
      float* const line = to + k * n + first;
      for (int64_t i = 0; i < count; ++i) {
        line[i] = static_cast<float>(int{from[i][k]} - kOffset);
      }
    }
  }
  return centred;
}

// The same as int8 [n, D].
at::Tensor CentredInt8(const ByteImages& images, int64_t begin, int64_t n) {
  const int64_t dimensions = images.shape().elements();
  at::Tensor centred = at::empty({n, dimensions}, at::kChar);
  int8_t* to = centred.mutable_data_ptr<int8_t>();
  for (int64_t i = 0; i < n; ++i) {
    for (const uint8_t byte : images.Bytes(begin + i)) {
      *to++ = static_cast<int8_t>(int{byte} - kOffset);
    }
  }
  return centred;
}

// The products of one chunk, by tile: exact, fp32 or int32.
using TileProducts = std::function<at::Tensor(size_t i, size_t j)>;

TileProducts ProductsOfChunk(const ByteImages& images, int64_t begin, int64_t n,
                             const std::vector<Range>& ranges,
                             bool byte_products, at::Device device) {
  if (byte_products) {
    return
        [&ranges, bytes = CentredInt8(images, begin, n)](size_t i, size_t j) {
          const auto columns = [&](const Range& range) {
            return bytes.narrow(1, range.begin, range.size);
          };
          return at::_int_mm(columns(ranges[i]).t(), columns(ranges[j]));
        };
  }
  std::vector<at::Tensor> parts;
  for (const Range& range : ranges) {
    parts.push_back(Pack(CentredBytes(images, begin, n, range).to(device)));
  }
  return [parts = std::move(parts)](size_t i, size_t j) {
    return ProductOfRows(parts[i], parts[j]);
  };
}

// Of this rank's tiles, the sums over the images of the products of their
// centred bytes: exact, fp64. Undefined for the others' tiles.
absl::StatusOr<std::vector<at::Tensor>> SumsOfProducts(
    const ByteImages& images, const ZcaOptions& options,
    const SymmetricTiles& tiles, const ShardRunner& runner,
    absl::FunctionRef<absl::Status()> proceed) {
  std::vector<at::Tensor> sums(tiles.size());
  const bool byte_products =
      options.byte_products && runner.device().is_cpu() &&
      AreByteProductsExact(tiles.ranges(), images.size(), options.chunk);
  for (int64_t begin = 0; begin < images.size(); begin += options.chunk) {
    DASM_RETURN_IF_ERROR(proceed());
    const TileProducts products_of = ProductsOfChunk(
        images, begin, std::min(options.chunk, images.size() - begin),
        tiles.ranges(), byte_products, runner.device());
    for (int64_t tile = runner.rank(); tile < tiles.size();
         tile += runner.size()) {
      const auto& [i, j] = tiles.pair(tile);
      const at::Tensor products = products_of(i, j);
      if (sums[tile].defined()) {
        sums[tile].add_(products);
      } else {
        sums[tile] = products.to(at::kDouble);
      }
    }
  }
  return sums;
}

// Exact sums of centred bytes, fp64 [D].
at::Tensor SumOfBytes(const ByteImages& images) {
  const int64_t dimensions = images.shape().elements();
  at::Tensor total =
      at::full({dimensions}, -kOffset * images.size(), at::kLong);
  int64_t* const total_of = total.mutable_data_ptr<int64_t>();
  // What 32 bits hold.
  constexpr int64_t kMost = int64_t{1} << 24;
  for (int64_t begin = 0; begin < images.size(); begin += kMost) {
    std::vector<uint32_t> sums(dimensions);
    const int64_t end = std::min(begin + kMost, images.size());
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* const bytes = images.Bytes(i).data();
      for (int64_t d = 0; d < dimensions; ++d) sums[d] += bytes[d];
    }
    for (int64_t d = 0; d < dimensions; ++d) total_of[d] += sums[d];
  }
  return total.to(at::kDouble);
}

struct Eigensystem {
  at::Tensor values;   // fp64 [D], ascending, not below 0
  at::Tensor vectors;  // [D, D], found in fp64 and rounded to fp32
};

// Of a contiguous fp64 tensor on the host.
absl::Span<double> Doubles(const at::Tensor& tensor) {
  return {tensor.mutable_data_ptr<double>(),
          static_cast<size_t>(tensor.numel())};
}

absl::Status Broadcast(const at::Tensor& tensor, Collective* collective) {
  return collective->Broadcast(absl::MakeSpan(
      static_cast<char*>(tensor.mutable_data_ptr()), tensor.nbytes()));
}

// Found by rank 0, which alone has the matrix.
absl::StatusOr<Eigensystem> Decompose(int64_t dimensions, at::Tensor covariance,
                                      Collective* collective,
                                      at::Device device) {
  Eigensystem system;
  if (collective->rank() == 0) {
    const at::Tensor vectors = std::exchange(covariance, {}).cpu();
    system.values = at::empty({dimensions}, at::kDouble);
    DASM_RETURN_IF_ERROR(
        FindEigenvectors(Doubles(vectors), Doubles(system.values)));
    system.values.clamp_min_(0);
    system.vectors = vectors.to(at::kFloat).t().contiguous();
  } else {
    system.values = at::empty({dimensions}, at::kDouble);
    system.vectors = at::empty({dimensions, dimensions}, at::kFloat);
  }
  DASM_RETURN_IF_ERROR(Broadcast(system.values, collective));
  DASM_RETURN_IF_ERROR(Broadcast(system.vectors, collective));
  return Eigensystem{system.values.to(device), system.vectors.to(device)};
}

}  // namespace

Zca Zca::ForWhitening() const { return {mean, Pack(whiten), at::Tensor()}; }

at::Tensor Zca::Whiten(const at::Tensor& pixels) const {
  return ProductOfRows(pixels.flatten(1) - mean, whiten).view(pixels.sizes());
}

at::Tensor Zca::Unwhiten(const at::Tensor& whitened) const {
  return ProductOfRows(whitened.flatten(1), unwhiten)
      .add_(mean)
      .view(whitened.sizes());
}

absl::StatusOr<ZcaFit> FitZca(const ByteImages& images,
                              const ZcaOptions& options, Collective* collective,
                              at::Device device,
                              absl::FunctionRef<absl::Status()> proceed) {
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
      std::vector<at::Tensor> sums,
      SumsOfProducts(images, options, tiles, runner, proceed));
  DASM_ASSIGN_OR_RETURN(
      at::Tensor shards,
      tiles.Gather(runner, at::kDouble,
                   [&](int64_t tile, const Range& rows, const Range& columns) {
                     at::Tensor products =
                         std::exchange(sums[tile], at::Tensor());
                     products.mul_(count);
                     products.sub_(
                         at::outer(sum.narrow(0, rows.begin, rows.size),
                                   sum.narrow(0, columns.begin, columns.size)));
                     return products.div_(count * (count - 1) * 255 * 255);
                   }));
  at::Tensor covariance;
  if (runner.rank() == 0) covariance = tiles.Assemble(shards);
  shards.reset();
  DASM_ASSIGN_OR_RETURN(const Eigensystem eigen,
                        Decompose(images.shape().elements(),
                                  std::move(covariance), collective, device));
  const at::Tensor root = (eigen.values + options.epsilon).sqrt();

  ZcaFit fit;
  // U diag(d) U^T = d_0 I + U diag(d - d_0) U^T: most eigenvalues are small
  // beside epsilon, so that the product is small, and its rounding too.
  const auto matrix =
      [&](const at::Tensor& diagonal) -> absl::StatusOr<at::Tensor> {
    DASM_RETURN_IF_ERROR(proceed());
    const double constant = diagonal[0].item<double>();
    const at::Tensor rest = (diagonal - constant).to(at::kFloat);
    DASM_ASSIGN_OR_RETURN(
        const at::Tensor of_ranks,
        tiles.Gather(
            runner, at::kFloat,
            [&](int64_t, const Range& rows, const Range& columns) {
              at::Tensor tile = ProductOfRows(
                  eigen.vectors.narrow(0, rows.begin, rows.size) * rest,
                  eigen.vectors.narrow(0, columns.begin, columns.size));
              if (rows.begin == columns.begin) tile.diagonal().add_(constant);
              return tile;
            }));
    return tiles.Assemble(of_ranks);
  };
  DASM_ASSIGN_OR_RETURN(fit.zca.whiten, matrix(root.reciprocal()));
  DASM_ASSIGN_OR_RETURN(fit.zca.unwhiten, matrix(root));
  fit.zca.mean = ((sum / count + kOffset) / 255).to(at::kFloat);
  fit.smallest_eigenvalue = eigen.values[0].item<double>();
  fit.largest_eigenvalue =
      eigen.values[eigen.values.numel() - 1].item<double>();
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
