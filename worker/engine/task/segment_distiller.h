// IDC's loop over one segment (Kim et al. 2022, alg. 1):
// networks start at random, again and again, and are trained on real data;
// between their steps the segment's pixels move towards equal gradients.
//
//   step s of inits / I * steps_per_init, with I = inits_per_step networks
//     first of its inits: fresh networks; pixels clamped to [0, 1]
//     every class: pixel gradient at each network (GradientMatcher), averaged
//       over the networks in their order
//     one update of all pixels (PixelUpdate)
//     net_steps steps of each network on real images; not after the last
//       matching step of its init, where it is renewed
// Network j of step s is init (s / steps_per_init) I + j; its draws are keyed
// by (init, step within it, class) and its batches by the position
// init * steps_per_init + step: nothing but the state is carried, and a
// network's path does not depend on I.
//
// Sharding: state is replicated; the same bits for any number of ranks.
//   exchange every_step  unit c I + j (class c at network j) is computed by
//                        rank (c I + j) mod size; its gradient, of the rows
//                        that take part in the step, is gathered
//   exchange deferred    class c stays with rank c mod size, whose rows of
//                        pixels and velocity alone are current; they are
//                        gathered before a checkpoint and at the end
//   micro-batches        a class is shared by all ranks (MatchInParts)
// Network batches are cut into slices (Trainer).
//
// With a trainer rank (RunOptions::trainer_rank; two ranks or more) rank 0
// trains the networks by itself, a step ahead, while the others match: the
// networks never depend on the pixels. What is said of matching above then
// holds for the ranks from 1 on, of which there are size - 1. Rank 0 takes part
// in their exchanges, in micro-batches between its network steps, and sends the
// networks on after each step. The momentum is rank 0's, which sends it before
// a checkpoint: checkpoints are the same as without.
//
// Bytes a step, as rows x floats, for C classes of n images of x floats of
// which m <= min(n, synthetic_batch) take part, M matched and P + B values of
// the network:
//   every_step     gather C I x (m x + 1)
//   deferred       gather C x 2; at an exchange also 2 C x (n x) and one
//                  value of each rank that matches
//   micro-batches  C I all-reduces of K x 2 M and of K' x (m x), for K and K'
//                  parts
//   networks       I net_steps all-reduces of ceil(net_batch / train_group) x
//                  (P + B + 2); with a trainer rank instead one of 1 x
//                  I (P + B + net_steps), and before a checkpoint of 1 x I P
// A value is read back from a device once a step: losses and norms together.
// Matching and network steps are recorded (step_graph.h).
#ifndef DASM_WORKER_ENGINE_TASK_SEGMENT_DISTILLER_H_
#define DASM_WORKER_ENGINE_TASK_SEGMENT_DISTILLER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/matcher/gradient_matcher.h"
#include "worker/engine/network/network.h"
#include "worker/engine/sampler/class_sampler.h"
#include "worker/engine/shard/shard_runner.h"
#include "worker/engine/task/task_context.h"
#include "worker/engine/trainer/trainer.h"
#include "worker/engine/update/pixel_update.h"

namespace dasm {

class SegmentDistiller {
 public:
  struct Options {
    DistillSegmentParameters parameters;
    uint64_t seed = 0;             // of this segment
    std::vector<ClassPool> pools;  // by class
  };
  struct Result {
    at::Tensor images;  // [classes n, C, H, W], clamped to [0, 1], on the host
    int64_t steps = 0;
    double final_loss = 0;      // mean distance of the last pass
    double max_pixel_step = 0;  // largest move of a pixel in one update
  };

  // Borrows all but `options`.
  SegmentDistiller(const TaskContext* context, const ImageData* data,
                   const Network* network, Options options);

  // From `start` [classes n, C, H, W] or the context's checkpoint, to the end.
  //   NUMERIC           (failure class) a loss or gradient that is not finite,
  //                     with its step; the state before it is checkpointed
  //   PREEMPTED         (failure class) after a stop that was asked for
  //   INVALID_ARGUMENT  the checkpoint is another segment's; micro-batches of
  //                     a network with BatchNorm
  absl::StatusOr<Result> Run(const at::Tensor& start);

 private:
  struct State {
    int64_t step = 0;
    at::Tensor pixels;
    at::Tensor velocity;
    std::vector<TrainingState> students;
    double final_loss = 0;
    at::Tensor max_pixel_step;  // []; with deferred exchange of the own classes
  };
  // What a step draws of a class at one network.
  struct Draw {
    int label = 0;
    int student = 0;
    // Stored rows of the class that take part, ascending; empty: all.
    std::vector<int64_t> rows;
    // Numbers of decoded images of those rows; empty: all.
    std::vector<int64_t> decoded;
  };
  struct Pass {
    at::Tensor gradient;       // like pixels; deferred: of the own classes
    double loss = 0;           // mean over classes and networks
    double gradient_norm = 0;  // of all pixels
  };

  absl::StatusOr<State> Resume(const at::Tensor& start);
  // Makes pixels and velocity of all classes current on every rank.
  absl::Status Exchange(State* state);
  // The same with the momentum that a trainer rank has.
  absl::Status ExchangeMomentum(State* state) const;
  absl::Status Save(State* state);
  void BeginInits(State* state);
  Draw DrawFor(const State& state, int label, int student) const;
  // At the network of `draw`; the gradient of its rows.
  absl::StatusOr<ClassMatch> MatchClass(const State& state, const Draw& draw);
  // Adds up gradients and distances of all draws.
  absl::StatusOr<Pass> MatchAll(const State& state);
  // Reads what MatchAll computed, and the losses of the networks' last steps.
  absl::Status ReadBack(const State& state, const at::Tensor& figures,
                        Pass* pass);
  void UpdatePixels(const Pass& pass, State* state) const;
  // Of the network steps that follow matching step `step`, network after
  // network, those from `begin` to `end`; adds their losses.
  absl::Status TrainStudents(int64_t step, int64_t begin, int64_t end,
                             std::vector<TrainingState>* students,
                             std::vector<at::Tensor>* losses);
  // On a trainer rank: part `part` of `parts` of those steps, into ahead_.
  absl::Status TrainAhead(const State& state, int64_t part, int64_t parts);
  // Makes the networks those of the next step, on every rank.
  absl::Status AdvanceStudents(State* state);

  int64_t InitOf(int64_t step, int student) const {
    return step / spec().steps_per_init * spec().inits_per_step + student;
  }
  int64_t StepInInit(int64_t step) const {
    return step % spec().steps_per_init;
  }
  // Of a network's batches.
  int64_t PositionOf(int64_t step, int student) const {
    return InitOf(step, student) * spec().steps_per_init + StepInInit(step);
  }
  int64_t NetworkSteps(int64_t step) const {
    return StepInInit(step) + 1 < spec().steps_per_init
               ? int64_t{spec().inits_per_step} * spec().net_steps
               : 0;
  }
  int64_t TotalSteps() const {
    return int64_t{spec().inits} / spec().inits_per_step *
           spec().steps_per_init;
  }
  int64_t RowsOf(const Draw& draw) const {
    return draw.rows.empty() ? images_per_class_
                             : static_cast<int64_t>(draw.rows.size());
  }
  // Training images, on the device where there is one and they fit.
  const ImageSource& images() const {
    return resident_ != nullptr ? *resident_ : data_.train();
  }
  const GradientMatchingSpec& spec() const {
    return options_.parameters.matching;
  }

  const TaskContext& context_;
  const ImageData& data_;
  const Network& network_;
  const Options options_;
  const int64_t images_per_class_;
  const GradientMatcher matcher_;
  const PixelUpdate update_;
  const AugmentationOptions augmentation_;
  const StepOptions student_step_;
  const RandomStream augmentation_stream_;
  const RandomStream subset_stream_;
  const bool trainer_rank_;
  const ShardRunner runner_;  // of the ranks that match
  const ShardRunner everyone_;
  const bool in_parts_;
  const bool deferred_;
  SingleProcessCollective alone_;
  Trainer trainer_;
  const std::unique_ptr<ImageSource> resident_;
  // Each network walks the data by itself, since a walk remembers its epoch.
  std::vector<EpochWalk> student_walks_;
  std::vector<std::vector<ClassSampler>> samplers_;  // by network, by class
  // [] each, of the networks' last steps, network-major; not read yet.
  std::vector<at::Tensor> student_losses_;
  // Of a trainer rank: the networks of the next step, and their losses.
  std::vector<TrainingState> ahead_;
  std::vector<at::Tensor> ahead_losses_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_SEGMENT_DISTILLER_H_
