// What every kind of task works with, and the little that all of them do with
// it: naming inputs and outputs, deriving seeds.
#ifndef DASM_WORKER_ENGINE_TASK_TASK_CONTEXT_H_
#define DASM_WORKER_ENGINE_TASK_TASK_CONTEXT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/dataset/set_data.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/task/task.h"

namespace dasm {

// Borrows.
struct TaskContext {
  const TaskFiles& files;
  at::Device device;
  Collective* collective;
  TaskObserver* observer;
  RunOptions options;
  // Kind and canonical parameters: a checkpoint must be of the same.
  std::string action;
  // Of this task and rank; null: steps are called.
  StepGraph* graph = nullptr;

  bool InCharge() const { return collective->rank() == 0; }
};

// INVALID_ARGUMENT naming an input that was not given.
absl::StatusOr<std::string> InputPath(const TaskFiles& files,
                                      const std::string& name);
bool HasInput(const TaskFiles& files, const std::string& name);
// The paths of `prefix`.1, `prefix`.2, ... without a gap, maybe none.
std::vector<std::string> NumberedInputs(const TaskFiles& files,
                                        const std::string& prefix);
absl::StatusOr<std::unique_ptr<ImageData>> OpenDataset(const TaskFiles& files);
// DATA when a set is not of the data set's image shape or classes.
absl::Status CheckSet(const SetData& set, const ImageData& data,
                      const std::string& path);
// Sets prefix.1 .. as a union; at least one.
absl::StatusOr<SetData> LoadUnion(const TaskFiles& files,
                                  const std::string& prefix,
                                  const ImageData& data);
// Another seed for each (seed, purpose, index): tasks that share a job's seed
// draw from streams of their own.
uint64_t DerivedSeed(uint64_t seed, std::string_view purpose, uint32_t index);

// Writes outputs on the rank in charge, under output_dir/NAME.safetensors.
// Failure class STORAGE where that fails.
class Outputs {
 public:
  explicit Outputs(const TaskContext& context) : context_(context) {}
  // Tensors on the host; made contiguous where they are not.
  absl::Status Write(const std::string& name,
                     const std::map<std::string, at::Tensor>& tensors,
                     const std::map<std::string, std::string>& metadata);
  // A set's file; what is undefined is left out. `more` tensors come beside.
  absl::Status WriteSet(const std::string& name, const SetData& set,
                        std::map<std::string, std::string> metadata = {},
                        const std::map<std::string, at::Tensor>& more = {});
  // Bytes under their own file name.
  absl::Status WriteBytes(const std::string& name, const std::string& file,
                          std::string_view bytes);
  // Where the output lies that the task writes itself, piece by piece...
  std::string Path(const std::string& name) const;
  // ... and that it has, on the rank in charge.
  void Add(const std::string& name);
  TaskOutcome Finish(const nlohmann::json& summary) const;

 private:
  const TaskContext& context_;
  std::map<std::string, std::string> files_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TASK_CONTEXT_H_
