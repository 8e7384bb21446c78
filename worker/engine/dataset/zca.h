// ZCA whitening of [0, 1] pixels (MTT and its successors, by way of kornia):
//   Cov = (X - mean)^T (X - mean) / (N - 1) = U diag(s) U^T
//   z = (x - mean) U diag(1 / sqrt(s + eps)) U^T, and back with sqrt(s + eps).
// eps lies inside the root and is large beside most eigenvalues: the whitening
// is mild, z keeps a variance of s / (s + eps) along each eigenvector.
//
// Shapes: N images of D = C H W values, in this order.
// Numerics: Cov is summed as integers, without an error: pixels are bytes, and
//   bytes - 128 multiplied in fp32 give exact sums of up to 1024 products,
//   which are added in fp64. A CPU that multiplies bytes exactly does that
//   instead, four times as fast, with the same bits. Eigenvectors are found in
//   fp64 and rounded to fp32, in which the matrices are multiplied but for
//   their largest part, a multiple of the identity; whitening is fp32.
// Determinism: ranks share tiles of the matrices; the same bits for any number
//   of ranks. Eigenvectors are found by rank 0 while the others wait, with
//   threads of their own (eigenvectors.h).
// Threads: all ranks make the same calls. May throw c10::Error.
#ifndef DASM_WORKER_ENGINE_DATASET_ZCA_H_
#define DASM_WORKER_ENGINE_DATASET_ZCA_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/collective/collective.h"
#include "worker/engine/dataset/image_data.h"

namespace dasm {

struct Zca {
  at::Tensor mean;  // f32 [D]
  // f32 [D, D], symmetric but for rounding.
  at::Tensor whiten;
  at::Tensor unwhiten;

  // For many calls of Whiten alone: without `unwhiten`.
  Zca ForWhitening() const;
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
  int64_t tile = 384;         // side of the tiles that ranks share
  int64_t chunk = 1024;       // images of a product, at most 1024
  bool byte_products = true;  // where the CPU's are exact
};

// Fitted on all of `images`, at least two. `proceed` is asked between chunks
// and matrices, by all ranks alike; its error ends the fit. Errors: those of
// `proceed`, the collective and FindEigenvectors.
absl::StatusOr<ZcaFit> FitZca(
    const ByteImages& images, const ZcaOptions& options, Collective* collective,
    at::Device device, absl::FunctionRef<absl::Status()> proceed = [] {
      return absl::OkStatus();
    });

// A `zca` blob of images of D values (common/spec/task_parameters.h), on the
// host. DATA, naming the path, for a file of another shape.
absl::StatusOr<Zca> LoadZca(const std::string& path, int64_t dimensions);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DATASET_ZCA_H_
