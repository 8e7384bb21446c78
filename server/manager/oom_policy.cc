#include "server/manager/oom_policy.h"

#include <algorithm>
#include <bit>
#include <variant>

#include "absl/strings/numbers.h"
#include "common/base/logging.h"
#include "common/spec/task_parameters.h"
#include "server/planner/task_cost.h"

namespace dasm {
namespace {

// Images in a kernel call of a task that could have fewer; else 0.
struct UsedGroup {
  int operator()(const DistillSegmentParameters& p) const {
    return p.network.norm == Norm::kBatch ? 0 : EffectiveMicroBatch(p);
  }
  int operator()(const MatchTrajectoriesParameters& p) const {
    const bool whole = p.network.norm == Norm::kBatch ||
                       p.matching.estimator == Estimator::kFullGraph;
    // A planned one names its batch, so that the classes have no say.
    return whole ? 0 : EffectiveMicroBatch(p, /*classes=*/1);
  }
  int operator()(const TrainExpertsParameters& p) const {
    return p.network.norm == Norm::kBatch ? 0 : EffectiveTrainGroup(p);
  }
  template <typename Other>
  int operator()(const Other&) const {
    return 0;
  }
};

// Where its micro-batch is; null: it has none.
struct GroupOf {
  int* operator()(DistillSegmentParameters& p) const {
    return &p.execution.micro_batch;
  }
  int* operator()(MatchTrajectoriesParameters& p) const {
    return &p.execution.micro_batch;
  }
  int* operator()(TrainExpertsParameters& p) const {
    return &p.execution.train_group;
  }
  template <typename Other>
  int* operator()(Other&) const {
    return nullptr;
  }
};

}  // namespace

std::string MicroBatchField(std::string_view kind) {
  return kind == TrainExpertsParameters::kKind ? "execution.train_group"
                                               : "execution.micro_batch";
}

int MicroBatchNamed(std::string_view message) {
  constexpr std::string_view kName = "micro_batch=";
  const size_t at = message.find(kName);
  if (at == std::string_view::npos) return 0;
  std::string_view digits = message.substr(at + kName.size());
  digits = digits.substr(0, digits.find_first_not_of("0123456789"));
  int number = 0;
  return absl::SimpleAtoi(std::string(digits), &number) ? number : 0;
}

int MicroBatchThatFits(const ActionRecord& action, std::string_view message,
                       int64_t slot_memory_bytes) {
  const auto parsed = ParseTaskParameters(action.kind, action.parameters_json);
  if (!parsed.ok()) return 0;
  const int used = std::visit(UsedGroup(), *parsed);
  if (used <= 1) return 0;
  const int named = MicroBatchNamed(message);
  if (named > 0 && named < used) return named;
  int64_t fits = used / 2;
  const MemoryRecord& memory = action.memory;
  if (slot_memory_bytes > 0 && memory.bytes_per_image > 0) {
    fits = std::clamp<int64_t>(
        (slot_memory_bytes - memory.fixed_bytes) / memory.bytes_per_image, 1,
        fits);
  }
  return std::bit_floor(static_cast<unsigned>(fits));
}

std::string WithMicroBatch(std::string_view kind,
                           const std::string& parameters_json,
                           int micro_batch) {
  auto parsed = ParseTaskParameters(kind, parameters_json);
  DASM_CHECK(parsed.ok());
  int* group = std::visit(GroupOf(), *parsed);
  DASM_CHECK(group != nullptr);
  *group = micro_batch;
  return ToCanonicalJson(*parsed);
}

}  // namespace dasm
