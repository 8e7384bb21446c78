// IDC's loop over one segment (Kim et al. 2022, alg. 1):
// networks start at random, again and again, and are trained on real data;
// between their steps the segment's pixels move towards equal gradients.
//
//   step s of inits * steps_per_init; init i = s / steps_per_init
//     first of its init: a fresh network; pixels clamped to [0, 1]
//     every class: pixel gradient at the network (GradientMatcher)
//     one update of all pixels (PixelUpdate)
//     net_steps steps of the network on real images; not after the last
//       matching step of an init, where the network is renewed
//
// Sharding: state is replicated. Class c is computed by rank c mod size, pixel
// gradients are gathered, network batches are cut into slices (Trainer); the
// same bits for any number of ranks. Draws are keyed by (init, step, class),
// batches by the global step: nothing but the state is carried.
#ifndef DASM_WORKER_ENGINE_TASK_SEGMENT_DISTILLER_H_
#define DASM_WORKER_ENGINE_TASK_SEGMENT_DISTILLER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/augmentation/augmentation.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/matcher/gradient_matcher.h"
#include "worker/engine/network/network.h"
#include "worker/engine/sampler/class_sampler.h"
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
  //   INVALID_ARGUMENT  the checkpoint is another segment's
  absl::StatusOr<Result> Run(const at::Tensor& start);

 private:
  struct State {
    int64_t step = 0;
    at::Tensor pixels;
    at::Tensor velocity;
    TrainingState student;
    double final_loss = 0;
    double max_pixel_step = 0;
  };
  struct Pass {
    at::Tensor gradient;       // like pixels
    double loss = 0;           // mean over the classes
    double gradient_norm = 0;  // of all pixels
  };

  absl::StatusOr<State> Resume(const at::Tensor& start);
  absl::Status Save(const State& state);
  void BeginInit(State* state);
  ClassMatch MatchClass(const State& state, int label);
  absl::StatusOr<Pass> MatchAll(const State& state);
  absl::Status TrainStudent(State* state);

  int64_t InitOf(int64_t step) const { return step / spec().steps_per_init; }
  int64_t StepInInit(int64_t step) const {
    return step % spec().steps_per_init;
  }
  int64_t TotalSteps() const {
    return int64_t{spec().inits} * spec().steps_per_init;
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
  Trainer trainer_;
  EpochWalk student_walk_;
  std::vector<ClassSampler> samplers_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_SEGMENT_DISTILLER_H_
