// The engine's door: runs one task of any kind on one rank. Everything a task
// knows comes from its parameters and input files; everything it tells goes
// through TaskObserver and its output files.
#ifndef DASM_WORKER_ENGINE_TASK_TASK_H_
#define DASM_WORKER_ENGINE_TASK_TASK_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/artifact/safetensors.h"
#include "common/spec/task_parameters.h"
#include "worker/collective/collective.h"

namespace dasm {

// What the rank in charge hears; other ranks have a silent one. Called from the
// thread that runs the task, between steps.
class TaskObserver {
 public:
  enum class Wish {
    kNone,
    kCheckpoint,  // one is due
    kStop,        // write one, then end with PREEMPTED
  };
  virtual ~TaskObserver() = default;
  virtual void Progress(int64_t step, int64_t total_steps, double value,
                        std::string_view series) = 0;
  virtual void Point(std::string_view series, int64_t step, double value) = 0;
  virtual void Line(std::string_view severity, std::string_view text) = 0;
  // Asked by rank 0 at each step boundary and broadcast, so that all ranks act
  // at the same step.
  virtual Wish Poll() = 0;
  // Copies or writes what it is given before it returns.
  virtual absl::Status WriteCheckpoint(
      int64_t step, const std::map<std::string, TensorView>& tensors) = 0;
};

struct TaskFiles {
  // By input name ("dataset", "segment.1"): path of a verified, read-only
  // safetensors file.
  std::map<std::string, std::string> inputs;
  // Of an earlier attempt of this action; empty: start afresh.
  std::string checkpoint;
  std::string output_dir;
};

class StepGraph;      // worker/engine/device/step_graph.h
struct DeviceMemory;  // worker/engine/device/device_plugin.h

// What the machines decide; no value changes a bit of a result.
struct RunOptions {
  Exchange exchange = Exchange::kEveryStep;
  // distill_segment, with two ranks or more: rank 0 trains the networks, the
  // others match.
  bool trainer_rank = false;
  // Set when the device is out of memory, to its peaks at that moment: the
  // search for a micro-batch that fits forgets them. May be null.
  DeviceMemory* at_failure = nullptr;
  // Makes what runs the steps of a rank; unset: MakeStepGraph (step_graph.h).
  std::function<std::unique_ptr<StepGraph>()> make_graph;
};

struct TaskOutcome {
  std::string summary_json;
  // Output name -> file name in output_dir. Written by rank 0 only.
  std::map<std::string, std::string> outputs;
};

// `device` is "cpu" or "cuda:0". Status codes carry a failure class
// (common/base/error.h): NUMERIC with the step for a non-finite loss (after the
// last good checkpoint is safe), DATA for an input of another shape, OOM_HOST,
// COLLECTIVE, PREEMPTED after Wish::kStop. A checkpoint of another action is
// INVALID_ARGUMENT. Never throws.
// prepare_dataset and import_set read files and are not the engine's:
// INVALID_ARGUMENT.
absl::StatusOr<TaskOutcome> RunTask(const TaskParameters& parameters,
                                    const TaskFiles& files,
                                    std::string_view device,
                                    Collective* collective,
                                    TaskObserver* observer,
                                    const RunOptions& options = {});

// Once per process, before any tensor: one intra-op thread, deterministic
// kernels. Ranks are threads (worker/collective), never OpenMP.
void InitEngine();
// e.g. "cpu-avx2/torch-2.11.0+cu130/openblas-0.3.21/fp32/n5": results are
// bit-equal within it. Where "openblas-none" is, nothing can be whitened.
std::string NumericsClass();
// That of a device of this architecture ("sm90"), e.g.
// "cuda-sm90/torch-2.11.0+cu130/openblas-0.3.21/fp32/n5". tf32 and bf16 are the
// spec's execution.precision, which is in every key beside the class.
std::string DeviceNumericsClass(std::string_view architecture);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TASK_TASK_H_
