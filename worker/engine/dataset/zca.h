// ZCA whitening of [0, 1] pixels (MTT and its successors, by way of kornia):
//   Cov = (X - mean)^T (X - mean) / (N - 1) = U diag(s) U^T
//   z = (x - mean) U diag(1 / sqrt(s + eps)) U^T, and back with sqrt(s + eps).
// eps lies inside the root and is large beside most eigenvalues: the whitening
// is mild, z keeps a variance of s / (s + eps) along each eigenvector.
//
// Shapes: N images of D = C H W values, in this order.
// Numerics: Cov is summed as integers, without an error: pixels are bytes, and
//   bytes - 128 multiplied in fp32 give exact sums of up to 1024 products,
//   which are added in fp64. Eigenvectors and the matrices' products are fp64;
//   the matrices are rounded to fp32 once, and whitening is fp32.
// Determinism: ranks share tiles of the matrices; the same bits for any number
//   of ranks.
// Threads: all ranks make the same calls. May throw c10::Error.
#ifndef DASM_WORKER_ENGINE_DATASET_ZCA_H_
#define DASM_WORKER_ENGINE_DATASET_ZCA_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "worker/collective/collective.h"
#include "worker/engine/dataset/image_data.h"

namespace dasm {

struct Zca {
  at::Tensor mean;      // f32 [D]
  at::Tensor whiten;    // f32 [D, D]
  at::Tensor unwhiten;  // f32 [D, D]

  // Of images [n, C, H, W] fp32.
  at::Tensor Whiten(const at::Tensor& pixels) const;
  at::Tensor Unwhiten(const at::Tensor& whitened) const;
};

struct ZcaFit {
  Zca zca;  // on the device
  double largest_eigenvalue = 0;
  double smallest_eigenvalue = 0;
};

struct ZcaOptions {
  double epsilon = 0.1;
  int64_t tile = 512;    // side of the tiles that ranks share
  int64_t chunk = 1024;  // images of a product, at most 1024
};

// Fitted on all of `images`, at least two. Errors: those of the collective.
absl::StatusOr<ZcaFit> FitZca(const ByteImages& images,
                              const ZcaOptions& options, Collective* collective,
                              at::Device device);

// A `zca` blob of images of D values (common/spec/task_parameters.h), on the
// host. DATA, naming the path, for a file of another shape.
absl::StatusOr<Zca> LoadZca(const std::string& path, int64_t dimensions);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_ZCA_H_
