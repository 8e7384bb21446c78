// One step of an inner loop (training on synthetic images inside a matcher)
// shared among ranks, forward and adjoint: what a trajectory matcher needs to
// be exact in constant memory on any number of ranks.
//
//   forward   g = dL/dtheta of L = mean over the batch of the cross-entropy
//   adjoint   for a vector u: d<g, u>/dtheta = H u and d<g, u>/dimages
//
// A batch is cut into shards of `group` images, each image weighs 1 / |batch|,
// and partial vectors are added in shard order: one all-reduce of P floats a
// pass. The adjoint's image rows belong to their shards' owners and are
// exchanged once for all inner steps, by GatherImageRows.
//
// For SGD, theta_{k+1} = theta_k - lr g_k, and lambda_N = dM/dtheta_N:
//   lambda_k = lambda_{k+1} - lr H_k lambda_{k+1},
//   dM/dx += -lr d<g_k, lambda_{k+1}>/dx,  dM/dlr += -<g_k, lambda_{k+1}>.
//
// Shapes: theta, u [P]; images [N, C, H, W] normalised and augmented; labels
//   [N] int64, or [N, classes] of theta's dtype. float32 or float64.
// Errors: those of the collective; a mismatch of shapes throws c10::Error.
#ifndef DASM_WORKER_ENGINE_SHARD_INNER_BATCH_H_
#define DASM_WORKER_ENGINE_SHARD_INNER_BATCH_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/network/network.h"
#include "worker/engine/shard/shard_runner.h"

namespace dasm {

struct InnerBatch {
  at::Tensor images;
  at::Tensor labels;
  // Images a shard. BatchNorm couples a batch: one shard whatever this says.
  int64_t group = 0;
};

struct InnerGradient {
  at::Tensor loss;      // []
  at::Tensor gradient;  // [P]
};

struct InnerAdjoint {
  at::Tensor parameters;  // [P]: H u
  // [N, C, H, W]: those of this rank's shards, zeros elsewhere.
  at::Tensor image_rows;
};

absl::StatusOr<InnerGradient> GradientOf(const Network& network,
                                         const at::Tensor& theta,
                                         const InnerBatch& batch,
                                         const ShardRunner& runner);
absl::StatusOr<InnerAdjoint> AdjointOf(const Network& network,
                                       const at::Tensor& theta,
                                       const InnerBatch& batch,
                                       const at::Tensor& u,
                                       const ShardRunner& runner);

// The image rows of all inner steps, complete on every rank: element k like
// steps[k]. Batches of one size and group.
absl::StatusOr<std::vector<at::Tensor>> GatherImageRows(
    const Network& network, const std::vector<at::Tensor>& steps, int64_t group,
    const ShardRunner& runner);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_SHARD_INNER_BATCH_H_
