// One outer iteration of trajectory matching after another, without files:
// what MTT, FTD, TESLA, DATM, PAD and SeqMatch have in common (Cazenavette et
// al. 2022, alg. 1, and successors).
//
//   trajectories_per_step times: the next expert, a start epoch t, the
//     gradient of the loss of a student that starts at the expert's epoch t and
//     should arrive where it was matched_epochs later (TrajectoryMatcher)
//   the mean of the gradients steps label logits, pixels and step size by SGD
//     with momentum, unless the loss is above skip_threshold; the moving
//     average of the pixels follows
//
// Draws are keyed by the number of the trajectory, iteration *
// trajectories_per_step + j, and within it by the student's step: nothing but
// TrajectoryState is carried.
//
// Sharding: of one trajectory the student's batches, of several whole ones,
// round robin. The same bits for any number of ranks.
// Units: images are preprocessed and never clamped.
#ifndef DASM_WORKER_ENGINE_TASK_TRAJECTORY_LOOP_H_
#define DASM_WORKER_ENGINE_TASK_TRAJECTORY_LOOP_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random_stream.h"
#include "common/spec/job_spec.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/dataset/set_data.h"
#include "worker/engine/labels/label_logits.h"
#include "worker/engine/matcher/trajectory_matcher.h"
#include "worker/engine/matcher/trajectory_schedule.h"
#include "worker/engine/shard/shard_runner.h"
#include "worker/engine/update/momentum_sgd.h"
#include "worker/engine/update/step_size.h"

namespace dasm {

// What an iteration changes; tensors are where the loop computes.
struct TrajectoryState {
  int64_t iteration = 0;
  at::Tensor pixels;  // [M, C, H, W]
  at::Tensor pixel_velocity;
  at::Tensor labels;          // [M] int64, or label logits [M, classes]
  at::Tensor label_velocity;  // undefined unless labels are learned
  StepSize::State step_size;
  at::Tensor average;  // of the pixels; undefined without pixel_ema
  int64_t skipped = 0;
  int64_t not_finite = 0;  // losses in a row
};

struct TrajectoryFigures {
  double loss = 0;
  double gradient_norm = 0;  // of the pixels
  double step_size = 0;      // before the update
  double label_entropy = 0;  // with soft labels
  bool skipped = false;
  std::vector<double> layer_share;  // of the loss, by parameter tensor
};

class TrajectoryLoop {
 public:
  struct Options {
    TrajectoryMatchingSpec matching;
    ExecutionSpec execution;
    uint64_t seed = 0;
    // Earlier segments that the student steps on too, and which stay as they
    // are; null: none.
    const SetData* earlier = nullptr;
    StepGraph* graph = nullptr;  // null: steps are called
  };

  // Borrows all but `options`. Of `experts` there is at least one, each with
  // the epochs that `matching` needs.
  TrajectoryLoop(const Network* network, const Experts* experts,
                 Collective* collective, at::Device device, Options options);

  // `start`: images, labels and (unless labels are hard) label_logits.
  TrajectoryState Begin(const SetData& start) const;
  // The next iteration. NUMERIC (failure class) with `state` as it was: a loss
  // or gradient that is not finite (with the skip rule the tenth in a row), or
  // a step size that would not be above 0. Also the collective's errors.
  absl::StatusOr<TrajectoryFigures> Step(TrajectoryState* state) const;
  // The loss at each start epoch 0 .. epochs - matched_epochs of an expert that
  // is not matched; the student's batches are the same at every call.
  absl::StatusOr<std::vector<double>> Probe(const TrajectoryState& state,
                                            const ExpertFile& held_out) const;

 private:
  // Which trajectory is matched from where.
  struct Source {
    const ExpertFile* expert = nullptr;
    int epoch = 0;
  };
  // What the student sees at every trajectory of an iteration.
  struct StudentSet {
    at::Tensor images;
    at::Tensor labels;
  };
  struct Gradient {
    at::Tensor pixels;
    at::Tensor labels;   // of learned labels, else undefined
    at::Tensor teacher;  // label logits that were computed anew
    // Loss, derivative by the step size, shares of the layers.
    at::Tensor figures;
  };
  struct Streams {
    RandomStream batch;
    RandomStream augmentation;
  };

  Source SourceOf(int64_t iteration, int64_t draw) const;
  StudentSet SetOf(const TrajectoryState& state) const;
  StudentPath PathOf(const TrajectoryState& state, const StudentSet& set,
                     const Source& source, const Streams& streams,
                     uint32_t draw) const;
  absl::StatusOr<Gradient> MatchOne(const TrajectoryState& state,
                                    StudentSet set, int64_t draw,
                                    Collective* collective) const;
  absl::StatusOr<Gradient> MatchAll(const TrajectoryState& state) const;
  absl::Status Update(const Gradient& gradient, double step_size_gradient,
                      TrajectoryState* state) const;
  absl::Status NotFinite(const TrajectoryState& state,
                         const TrajectoryFigures& figures) const;
  const TrajectoryMatchingSpec& spec() const { return options_.matching; }
  bool soft() const { return spec().labels != Labels::kHard; }

  const Network& network_;
  const Experts& experts_;
  Collective* const collective_;
  const at::Device device_;
  const Options options_;
  const TrajectoryMatcher matcher_;
  const AugmentationOptions augmentation_;
  const StepSize step_size_;
  const MomentumSgd pixel_sgd_;
  const MomentumSgd label_sgd_;
  const RandomStream expert_stream_;
  const RandomStream epoch_stream_;
  const Streams match_streams_;
  const Streams probe_streams_;
  at::Tensor earlier_images_;
  at::Tensor earlier_labels_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAJECTORY_LOOP_H_
