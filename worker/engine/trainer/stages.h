// Trains one network on the segments of a set, stage after stage: evaluation,
// discriminators and the networks that later experts start from (SeqMatch, Du
// et al. 2023; one step size a segment, where the released code keeps only the
// first).
//
//   union       one stage on all images, with the step size of the last segment
//   cumulative  stage k on the segments 1 .. k, with the step size of segment k
//   staged      stage k on segment k alone, with its step size
//
// Each stage has an optimiser, a learning rate schedule and random draws of its
// own (Trainer::Train's `stage`), and begins with the parameters and running
// statistics that the one before left. A run resumed from a checkpointed state
// ends with the same bits. Errors, threads: as Trainer.
#ifndef DASM_WORKER_ENGINE_TRAINER_STAGES_H_
#define DASM_WORKER_ENGINE_TRAINER_STAGES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/artifact/safetensors.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/image_source.h"
#include "worker/engine/network/network.h"
#include "worker/engine/trainer/trainer.h"

namespace dasm {

// Consecutive images of a source that were distilled together.
struct SetSegment {
  int64_t images = 0;
  double step_size = 0;  // learned, or the recipe's
};

struct TrainingStage {
  // The images [begin, end) of the source.
  int64_t begin = 0;
  int64_t end = 0;
  double learning_rate = 0;
  int64_t steps = 0;
  bool operator==(const TrainingStage&) const = default;
};

// The optimiser steps of `epochs` epochs over `images` images. The recipes dc
// and trajectory make one pass more than they say, as their released code does.
int64_t StepsOf(const TrainingRecipe& recipe, int epochs, int64_t images);

// The stages of `order` over `segments`, which follow one another from image 0
// and are not empty. A union has recipe.steps steps; other orders have `epochs`
// epochs a stage.
std::vector<TrainingStage> StagesOf(Order order,
                                    const std::vector<SetSegment>& segments,
                                    const TrainingRecipe& recipe, int epochs);

// All that a training in stages carries from step to step.
struct StagedState {
  int stage = 0;           // 0-based, the one in progress
  TrainingState training;  // its `step` counts from the stage's beginning
  double loss = 0;         // of the last step

  // As TrainingState's, and "<prefix>stage" (i64 [1]), "<prefix>loss" (f64
  // [1]).
  std::map<std::string, at::Tensor> ToTensors(const std::string& prefix) const;
};

// Reads what ToTensors named. INVALID_ARGUMENT when a tensor is missing or
// another network's.
absl::StatusOr<StagedState> LoadStagedState(const SafetensorsFile& file,
                                            const std::string& prefix,
                                            const Network& network,
                                            at::Device device = at::kCPU);

// As TrainHooks; `step` counts over all stages.
struct StageHooks {
  std::function<TrainHooks::Wish()> poll;
  std::function<absl::Status(const StagedState&)> checkpoint;
  std::function<void(int64_t step, double loss)> progress;
};

// All stages from where `state` is, to the end of the last. The recipe's steps
// and learning rate are those of each stage. Returns the last loss.
absl::StatusOr<double> TrainStages(const TrainingRecipe& recipe,
                                   const ImageSource& source,
                                   const std::vector<TrainingStage>& stages,
                                   const StageHooks& hooks, Trainer* trainer,
                                   StagedState* state);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TRAINER_STAGES_H_
