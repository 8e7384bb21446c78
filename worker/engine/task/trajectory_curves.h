// What a run of trajectory matching recorded: the `curves` file of
// common/spec/task_parameters.h, and its part of a checkpoint.
#ifndef DASM_WORKER_ENGINE_TASK_TRAJECTORY_CURVES_H_
#define DASM_WORKER_ENGINE_TASK_TRAJECTORY_CURVES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/artifact/safetensors.h"
#include "worker/engine/task/trajectory_loop.h"

namespace dasm {

class TrajectoryCurves {
 public:
  // `layers`: parameter tensors of the network; `soft`: labels have an entropy.
  TrajectoryCurves(int64_t layers, bool soft) : layers_(layers), soft_(soft) {}

  void Add(int64_t iteration, const TrajectoryFigures& figures);
  // Losses by start epoch; of one number at every call.
  void AddProbe(int64_t iteration, const std::vector<double>& losses);

  // Of the last iteration; 0 before the first.
  double last_loss() const { return loss_.empty() ? 0 : loss_.back(); }
  double last_entropy() const { return entropy_.empty() ? 0 : entropy_.back(); }
  // The iteration of the last probe; -1 before the first.
  int64_t last_probe() const {
    return probe_iterations_.empty() ? -1 : probe_iterations_.back();
  }

  // As the file has them.
  std::map<std::string, at::Tensor> ToTensors() const;

  // For a checkpoint, under names that begin with `prefix`: floats as their
  // bits, since a loss that was skipped may be NaN.
  std::map<std::string, at::Tensor> ToBits(const std::string& prefix) const;
  // INVALID_ARGUMENT or NOT_FOUND for a file without them.
  absl::Status Load(const SafetensorsFile& file, const std::string& prefix);

 private:
  const int64_t layers_;
  const bool soft_;
  std::vector<int64_t> iterations_;
  std::vector<float> loss_;
  std::vector<float> step_size_;
  std::vector<float> entropy_;
  std::vector<float> layer_share_;  // [R, layers]
  std::vector<int64_t> probe_iterations_;
  std::vector<float> probe_loss_;  // [Q, start epochs]
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TRAJECTORY_CURVES_H_
