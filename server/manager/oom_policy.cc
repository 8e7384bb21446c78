#include "server/manager/oom_policy.h"

#include <algorithm>
#include <bit>

#include "absl/strings/numbers.h"
#include "common/base/logging.h"
#include "common/spec/task_parameters.h"
#include "server/planner/task_cost.h"

namespace dasm {

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
  if (action.kind != DistillSegmentParameters::kKind) return 0;
  const auto parsed = ParseTaskParameters(action.kind, action.parameters_json);
  if (!parsed.ok()) return 0;
  const auto& parameters = std::get<DistillSegmentParameters>(*parsed);
  if (parameters.network.norm == Norm::kBatch) return 0;
  const int used = EffectiveMicroBatch(parameters);
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

std::string WithMicroBatch(const std::string& parameters_json,
                           int micro_batch) {
  auto parsed =
      ParseTaskParameters(DistillSegmentParameters::kKind, parameters_json);
  DASM_CHECK(parsed.ok());
  std::get<DistillSegmentParameters>(*parsed).execution.micro_batch =
      micro_batch;
  return ToCanonicalJson(*parsed);
}

}  // namespace dasm
