// One step of an inner loop (training on synthetic images inside a matcher)
// shared among ranks, forward and adjoint: what a trajectory matcher needs to
// be exact in constant memory on any number of ranks.
//
//   forward   g = dL/dtheta of L = mean over the batch of the cross-entropy of
//             the augmented images
//   adjoint   for a vector u: <g, u> and its derivatives by theta (H u), by
//             the images and by the label logits
//
// A batch is cut into shards of `group` images, each image weighs 1 / |batch|,
// and partial vectors are added in shard order: one all-reduce of P + 1 values
// a pass. The adjoint's rows of images and labels belong to their shards'
// owners; GatherRows exchanges those of several steps at once.
//
// For SGD, theta_{k+1} = theta_k - lr g_k, and lambda_N = dM/dtheta_N:
//   lambda_k = lambda_{k+1} - lr H_k lambda_{k+1},
//   dM/dx += -lr d<g_k, lambda_{k+1}>/dx,  dM/dlr += -<g_k, lambda_{k+1}>.
//
// Shapes: theta, u [P]; images [n, C, H, W], preprocessed; labels [n] int64, or
//   label logits [n, classes] of theta's dtype, whose softmax is the target.
//   float32 or float64.
// On a device nothing is read back. A shard is a recorded step (step_graph.h)
// unless its graph is kept, which recording cannot do.
// Errors: those of the collective; a mismatch of shapes throws c10::Error.
#ifndef DASM_WORKER_ENGINE_SHARD_INNER_BATCH_H_
#define DASM_WORKER_ENGINE_SHARD_INNER_BATCH_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"
#include "worker/engine/shard/shard_runner.h"

namespace dasm {

struct InnerBatch {
  at::Tensor images;
  at::Tensor labels;
  // Images a shard. BatchNorm couples a batch: one shard whatever this says.
  int64_t group = 0;
  // Of the batch's positions, or shared; null: images are taken as they are.
  // Applied anew by every pass, so that it has to be the same for both.
  const AugmentationDraw* augmentation = nullptr;
};

// What GradientOf leaves for AdjointOf, so that it need not compute the same
// again: graphs of this rank's shards, in the memory of a step each.
struct InnerGraph {
  struct Shard {
    std::vector<at::Tensor> slices;
    at::Tensor images;
    at::Tensor labels;  // undefined: hard ones
    std::vector<at::Tensor> gradient;
  };
  std::map<int64_t, Shard> shards;
};

struct InnerGradient {
  at::Tensor loss;      // []
  at::Tensor gradient;  // [P]
};

struct InnerAdjoint {
  at::Tensor product;     // []: <g, u>
  at::Tensor parameters;  // [P]: H u; undefined where it was not asked for
  // [n, C, H, W] by the images before augmentation, and [n, classes] by the
  // label logits (undefined for hard labels): rows of this rank's shards, zeros
  // elsewhere.
  at::Tensor image_rows;
  at::Tensor label_rows;
};

// `graph` null: steps are called.
absl::StatusOr<InnerGradient> GradientOf(const Network& network,
                                         const at::Tensor& theta,
                                         const InnerBatch& batch,
                                         const ShardRunner& runner,
                                         InnerGraph* keep = nullptr,
                                         StepGraph* graph = nullptr);

enum class ByParameters { kWanted, kNot };
// `kept`: the graph of the same step, which is used up.
absl::StatusOr<InnerAdjoint> AdjointOf(
    const Network& network, const at::Tensor& theta, const InnerBatch& batch,
    const at::Tensor& u, const ShardRunner& runner,
    ByParameters by_parameters = ByParameters::kWanted,
    InnerGraph* kept = nullptr, StepGraph* graph = nullptr);

// Rows [n, ...] of several steps, complete on every rank: element k like
// steps[k]. Batches of one size and group.
absl::StatusOr<std::vector<at::Tensor>> GatherRows(
    const Network& network, const std::vector<at::Tensor>& steps, int64_t group,
    const ShardRunner& runner);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_SHARD_INNER_BATCH_H_
