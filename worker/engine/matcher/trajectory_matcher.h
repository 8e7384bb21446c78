// The gradient of the matching loss of one student path, with regard to all
// that the student learns from: synthetic images, label logits, step size.
//
//   theta_0 = start;  theta_{i+1} = theta_i - step_size g_i,
//   g_i = gradient of the mean loss on batch i, augmented, at theta_i
//   L = matching loss of theta_N (matching_loss.h)
//
// Estimators, all of one form:
//   kStepAdjoint  exact, memory of one step and N parameter vectors: the steps
//                 are walked back with the adjoint lambda, and each is computed
//                 again where it was (inner_batch.h)
//   kFullGraph    the same gradient; the graphs of all steps are kept instead
//                 of computed again: a quarter less work, N times the memory
//   kTesla        Cui et al. 2023: lambda stays that of the last step, as if no
//                 theta_i depended on what was learned. Exact for N = 1, biased
//                 for more. (Their code multiplies a tuple by 2, and so has
//                 half of this gradient by the images.)
//
// Sharding: a batch is cut into groups of images which ranks share; an
// all-reduce of P + 1 values a step and pass, and one exchange of the gradient
// rows of as many steps as fit into 8 MiB. The same bits for any number of
// ranks.
//
// Shapes: P parameters, M images; float32 or float64, that of `start`.
// Errors: those of the collective. Threads: const methods are thread-safe
//   without a graph, and of its thread with one.
#ifndef DASM_WORKER_ENGINE_MATCHER_TRAJECTORY_MATCHER_H_
#define DASM_WORKER_ENGINE_MATCHER_TRAJECTORY_MATCHER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/matcher/matching_loss.h"
#include "worker/engine/network/network.h"
#include "worker/engine/shard/inner_batch.h"
#include "worker/engine/shard/shard_runner.h"

namespace dasm {

// One iteration's path; everything random about it is drawn before.
struct StudentPath {
  at::Tensor start;   // [P]: the expert at its start epoch
  at::Tensor target;  // [P]: the expert some epochs later
  at::Tensor images;  // [M, C, H, W], preprocessed
  at::Tensor labels;  // [M] int64, or label logits [M, classes]
  double step_size = 0;
  // Rows of `images` of each of the N steps; within one, all distinct.
  std::vector<std::vector<int64_t>> batches;
  // One a step, of as many images as its batch; empty: none.
  std::vector<AugmentationDraw> augmentations;
};

struct PathGradient {
  at::Tensor loss;         // [] float64
  at::Tensor images;       // [M, C, H, W]
  at::Tensor labels;       // [M, classes]; undefined for hard labels
  at::Tensor step_size;    // [] float64
  at::Tensor layer_share;  // [tensors] float64
};

class TrajectoryMatcher {
 public:
  struct Options {
    Estimator estimator = Estimator::kStepAdjoint;
    ParameterMask mask;
    int64_t group = 0;  // images of a kernel call
  };
  // Borrows. `graph` null: steps are called.
  TrajectoryMatcher(const Network* network, Options options,
                    StepGraph* graph = nullptr);

  absl::StatusOr<PathGradient> Match(const StudentPath& path,
                                     const ShardRunner& runner) const;
  // The loss alone.
  absl::StatusOr<MatchingLoss> Loss(const StudentPath& path,
                                    const ShardRunner& runner) const;

 private:
  struct Walk;

  InnerBatch BatchOf(const StudentPath& path, size_t step,
                     const at::Tensor& indices) const;
  absl::StatusOr<Walk> WalkForward(const StudentPath& path, bool come_back,
                                   const ShardRunner& runner) const;

  const Network* const network_;
  const Options options_;
  StepGraph* const graph_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_MATCHER_TRAJECTORY_MATCHER_H_
