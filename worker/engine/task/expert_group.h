// Trains the experts of one train_experts task. Alone on a device each has a
// lane of it (device_lanes.h), so that their steps are computed at once; on the
// CPU and in a gang, whose exchanges have one order, steps take turns. An
// expert's bits do not depend on the others.
//
// Epoch rows go to the output files as they are reached, before the first step
// and after each epoch, so that memory stays that of the networks. A checkpoint
// holds the networks, the position, and (of the rank in charge) the rows so
// far; a run resumed from it, inside an epoch too, gives the same bits.
//
// Errors (failure classes): NUMERIC naming expert, epoch and step for a loss
//   that is not finite; on a device losses are read every kStride steps.
//   PREEMPTED after Wish::kStop; STORAGE; those of the collective.
// Threads: one object a rank; all ranks make the same calls.
#ifndef DASM_WORKER_ENGINE_TASK_EXPERT_GROUP_H_
#define DASM_WORKER_ENGINE_TASK_EXPERT_GROUP_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/spec/task_parameters.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/device/device_lanes.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/network/network.h"
#include "worker/engine/task/task_context.h"
#include "worker/engine/task/training_set.h"
#include "worker/engine/teacher/epoch_data.h"
#include "worker/engine/teacher/expert_file.h"
#include "worker/engine/teacher/expert_trainer.h"
#include "worker/engine/trainer/stages.h"
#include "worker/engine/trainer/training_state.h"

namespace dasm {

struct TrainedExperts {
  std::vector<TrainingState> experts;
  double final_loss = 0;  // of the last step, mean over the experts
};

class ExpertGroup {
 public:
  static constexpr int64_t kStride = 16;

  struct Options {
    const TrainExpertsParameters& parameters;
    const Network& network;
    const ImageData& data;
    const EpochData& epochs;
    // What experts are trained on before their first epoch; null: they begin as
    // random networks.
    const TrainingSet* start;
    // Steps from reading losses to reading them again; 0: 1 on the CPU, kStride
    // on a device.
    int64_t stride = 0;
  };
  // Borrows all of it.
  ExpertGroup(const Options& options, const TaskContext& context);

  // From the context's checkpoint. The files "expert.1" .. are `outputs`'.
  absl::StatusOr<TrainedExperts> Run(Outputs* outputs);

 private:
  struct State {
    int64_t started = 0;  // experts with a starting network
    int64_t rows = 0;     // written; experts are in epoch rows - 1
    int64_t batch = 0;    // done of this epoch
    int64_t step = 0;     // done of all epochs
    double loss = 0;      // last read, mean over the experts
    std::vector<TrainingState> experts;
    StagedState start;  // of expert `started`, before `rows`
  };

  // The training images, on the device where there is one and they fit.
  const ImageSource& images() const;
  int count() const { return static_cast<int>(trainers_.size()); }
  absl::StatusOr<State> Load(const SafetensorsFile& file) const;
  absl::Status Save(const State& state, bool starting) const;
  absl::Status OpenWriters(const SafetensorsFile* checkpoint, int64_t rows,
                           const Outputs& outputs);
  absl::Status Start(State* state);
  absl::Status Snapshot(State* state);
  absl::Status TrainEpoch(State* state);
  // What becomes of some steps: `losses`, of all experts step after step, are
  // checked and told, wishes obeyed.
  absl::Status AfterSteps(std::vector<at::Tensor> losses,
                          const at::Tensor& signal, State* state);

  const Options options_;
  const TaskContext& context_;
  std::unique_ptr<DeviceLanes> lanes_;              // of the experts
  std::vector<std::unique_ptr<StepGraph>> graphs_;  // of lanes after the first
  std::vector<uint64_t> seeds_;
  std::vector<ExpertTrainer> trainers_;
  std::vector<TrainingStage> stages_;  // of the start
  int64_t start_steps_ = 0;            // of one expert
  int64_t total_steps_ = 0;            // of all starts and epochs
  std::unique_ptr<ImageSource> device_images_;
  std::vector<std::unique_ptr<ExpertWriter>> writers_;  // of the rank in charge
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_EXPERT_GROUP_H_
