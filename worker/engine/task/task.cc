#include "worker/engine/task/task.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <algorithm>
#include <memory>
#include <string>
#include <type_traits>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "worker/collective/single_process_collective.h"
#include "worker/engine/dataset/eigenvectors.h"
#include "worker/engine/device/load_plugin.h"
#include "worker/engine/device/precision.h"
#include "worker/engine/device/step_graph.h"
#include "worker/engine/task/assemble.h"
#include "worker/engine/task/catch_torch.h"
#include "worker/engine/task/distill_segment.h"
#include "worker/engine/task/evaluate.h"
#include "worker/engine/task/find_range.h"
#include "worker/engine/task/fitting_parameters.h"
#include "worker/engine/task/match_trajectories.h"
#include "worker/engine/task/rank_samples.h"
#include "worker/engine/task/score_samples_task.h"
#include "worker/engine/task/select_coreset.h"
#include "worker/engine/task/select_pool_task.h"
#include "worker/engine/task/task_context.h"
#include "worker/engine/task/train_discriminator.h"
#include "worker/engine/task/train_experts.h"
#include "worker/engine/task/whiten_dataset.h"

namespace dasm {
namespace {

// Of our own arithmetic: raised whenever a change of the engine changes the
// bits of a result.
constexpr int kNumericsVersion = 5;

absl::StatusOr<TaskOutcome> NotTheEngines(std::string_view kind) {
  return absl::InvalidArgumentError(absl::StrCat(
      std::string(kind), " reads files; it is not run by the engine"));
}

struct Dispatch {
  const TaskContext& context;

  absl::StatusOr<TaskOutcome> operator()(const PrepareDatasetParameters& p) {
    return NotTheEngines(p.kKind);
  }
  absl::StatusOr<TaskOutcome> operator()(const ImportSetParameters& p) {
    return NotTheEngines(p.kKind);
  }
  absl::StatusOr<TaskOutcome> operator()(const ImportScoresParameters& p) {
    return NotTheEngines(p.kKind);
  }
  absl::StatusOr<TaskOutcome> operator()(const WhitenDatasetParameters& p) {
    return WhitenDataset(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const TrainExpertsParameters& p) {
    return TrainExperts(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const RankSamplesParameters& p) {
    return RankSamples(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const MatchTrajectoriesParameters& p) {
    return MatchTrajectories(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const FindRangeParameters& p) {
    return FindRange(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const DistillSegmentParameters& p) {
    return DistillSegment(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(
      const TrainDiscriminatorParameters& p) {
    return TrainDiscriminator(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const ScoreSamplesParameters& p) {
    return ScoreSamplesTask(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const SelectPoolParameters& p) {
    return SelectPoolTask(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const SelectCoresetParameters& p) {
    return SelectCoreset(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const EvaluateParameters& p) {
    return Evaluate(p, context);
  }
  absl::StatusOr<TaskOutcome> operator()(const AssembleParameters& p) {
    return Assemble(p, context);
  }
};

// Sets the device up as the task asks; a CPU only computes in fp32.
absl::Status SetPrecision(const TaskParameters& parameters, at::Device device) {
  return std::visit(
      [device](const auto& p) -> absl::Status {
        if constexpr (requires { p.execution; }) {
          const std::string& name = p.execution.precision;
          DASM_RETURN_IF_ERROR(CheckPrecision(name, device));
          if (device.is_cpu()) return absl::OkStatus();
          return ApplyPrecision(*ParsePrecision(name));
        }
        return absl::OkStatus();
      },
      parameters);
}

// OpenMP and MKL count threads per calling thread, and ranks are threads.
void OneThread() { at::set_num_threads(1); }

absl::StatusOr<TaskOutcome> RunOnce(const TaskParameters& parameters,
                                    const TaskFiles& files,
                                    std::string_view device,
                                    Collective* collective,
                                    TaskObserver* observer,
                                    const RunOptions& options) {
  const std::string kind(KindOf(parameters));
  return CatchTorch(kind, [&]() -> absl::StatusOr<TaskOutcome> {
    OneThread();
    const at::Device where{std::string(device)};
    if (!where.is_cpu() && InstalledPlugin() == nullptr) {
      return WithFailureClass(
          absl::FailedPreconditionError(absl::StrCat(
              std::string(device), ": the runner has opened no plug-in")),
          FailureClass::kDeviceFault);
    }
    DASM_RETURN_IF_ERROR(SetPrecision(parameters, where));
    const std::unique_ptr<StepGraph> graph =
        options.make_graph ? options.make_graph() : MakeStepGraph(where);
    const TaskContext context = {
        files,      where,
        collective, observer,
        options,    absl::StrCat(kind, " ", ToCanonicalJson(parameters)),
        graph.get()};
    return std::visit(Dispatch{context}, parameters);
  });
}

int IndexOf(std::string_view device) {
  return std::max<int>(0, at::Device(std::string(device)).index());
}

// An out-of-memory of a device, with the groups that would fit.
absl::Status WithFittingGroup(const absl::Status& failure,
                              const TaskParameters& parameters,
                              const TaskFiles& files, std::string_view device,
                              const RunOptions& options) {
  TaskFiles afresh = files;
  afresh.checkpoint.clear();
  const std::string advice = FittingGroupAdvice(
      parameters, [&](const TaskParameters& smaller) -> absl::Status {
        if (DevicePlugin* plugin = InstalledPlugin(); plugin != nullptr) {
          plugin->ReleaseMemory(IndexOf(device));
        }
        SingleProcessCollective alone;
        OneStepObserver one_step;
        return RunOnce(smaller, afresh, device, &alone, &one_step, options)
            .status();
      });
  return WithFailureClass(
      absl::Status(failure.code(),
                   absl::StrCat(failure.message(), "; ", advice)),
      FailureClass::kOomDevice);
}

// Whether every rank of the gang ends with this status at the same step: then
// nobody waits for this one.
bool IsReplicated(const absl::Status& status) {
  switch (FailureClassOf(status)) {
    case FailureClass::kNumeric:
    case FailureClass::kPreempted:
    case FailureClass::kSpec:
    case FailureClass::kData:
      return true;
    default:
      return false;
  }
}

// What of a numerics class is the same for every device.
std::string LibrariesOfClass() {
  return absl::StrCat("/torch-", DASM_TORCH_VERSION, "/openblas-",
                      OpenBlasVersion().value_or("none"), "/fp32/n",
                      kNumericsVersion);
}

}  // namespace

void InitEngine() {
  OneThread();
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // It would write every fresh tensor once more, with NaN.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

std::string NumericsClass() {
  std::string isa = absl::AsciiStrToLower(at::get_cpu_capability());
  for (char& c : isa) {
    if (c == ' ') c = '-';
  }
  return absl::StrCat("cpu-", isa, LibrariesOfClass());
}

std::string DeviceNumericsClass(std::string_view architecture) {
  return absl::StrCat("cuda-", std::string(architecture), LibrariesOfClass());
}

absl::StatusOr<TaskOutcome> RunTask(const TaskParameters& parameters,
                                    const TaskFiles& files,
                                    std::string_view device,
                                    Collective* collective,
                                    TaskObserver* observer,
                                    const RunOptions& options) {
  absl::StatusOr<TaskOutcome> outcome =
      RunOnce(parameters, files, device, collective, observer, options);
  if (outcome.ok()) return outcome;
  if (!IsReplicated(outcome.status())) collective->Abort(outcome.status());
  if (FailureClassOf(outcome.status()) == FailureClass::kOomDevice) {
    if (DevicePlugin* plugin = InstalledPlugin();
        plugin != nullptr && options.at_failure != nullptr) {
      *options.at_failure = plugin->Memory(IndexOf(device));
    }
    return WithFittingGroup(outcome.status(), parameters, files, device,
                            options);
  }
  return outcome;
}

}  // namespace dasm
