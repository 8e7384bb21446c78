#include "worker/engine/task/task.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <string>
#include <type_traits>
#include <variant>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "worker/engine/task/assemble.h"
#include "worker/engine/task/catch_torch.h"
#include "worker/engine/task/distill_segment.h"
#include "worker/engine/task/evaluate.h"
#include "worker/engine/task/score_samples_task.h"
#include "worker/engine/task/select_coreset.h"
#include "worker/engine/task/select_pool_task.h"
#include "worker/engine/task/task_context.h"
#include "worker/engine/task/train_discriminator.h"

namespace dasm {
namespace {

// Of our own arithmetic: raised whenever a change of the engine changes the
// bits of a result.
constexpr int kNumericsVersion = 1;

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

absl::Status CheckPrecision(const TaskParameters& parameters) {
  return std::visit(
      [](const auto& p) -> absl::Status {
        if constexpr (requires { p.execution; }) {
          if (p.execution.precision != "fp32") {
            return absl::InvalidArgumentError(
                absl::StrCat("execution.precision \"", p.execution.precision,
                             "\": the engine computes in fp32"));
          }
        }
        return absl::OkStatus();
      },
      parameters);
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

// OpenMP and MKL count threads per calling thread, and ranks are threads.
void OneThread() { at::set_num_threads(1); }

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
  return absl::StrCat("cpu-", isa, "/torch-", DASM_TORCH_VERSION, "/fp32/n",
                      kNumericsVersion);
}

absl::StatusOr<TaskOutcome> RunTask(const TaskParameters& parameters,
                                    const TaskFiles& files,
                                    std::string_view device,
                                    Collective* collective,
                                    TaskObserver* observer,
                                    const RunOptions& options) {
  const std::string kind(KindOf(parameters));
  absl::StatusOr<TaskOutcome> outcome =
      CatchTorch(kind, [&]() -> absl::StatusOr<TaskOutcome> {
        OneThread();
        if (absl::Status status = CheckPrecision(parameters); !status.ok()) {
          return status;
        }
        const TaskContext context = {
            files,      at::Device(std::string(device)),
            collective, observer,
            options,    absl::StrCat(kind, " ", ToCanonicalJson(parameters))};
        return std::visit(Dispatch{context}, parameters);
      });
  if (!outcome.ok() && !IsReplicated(outcome.status())) {
    collective->Abort(outcome.status());
  }
  return outcome;
}

}  // namespace dasm
