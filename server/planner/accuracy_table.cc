#include "server/planner/accuracy_table.h"

#include <cmath>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/spec/task_parameters.h"
#include "server/planner/summary_json.h"

namespace dasm {
namespace {

// "evaluate-snapshot-500-convnet-d3-w128-instance-2" gives "snapshot-500".
std::string EvaluatedSetOf(std::string_view id,
                           const EvaluateParameters& parameters) {
  std::string name(absl::StripPrefix(std::string(id), "evaluate-"));
  const std::string suffix = absl::StrCat("-", parameters.network.ToString(),
                                          "-", parameters.repeat + 1);
  return std::string(absl::StripSuffix(name, suffix));
}

}  // namespace

double Accuracies::Mean(const std::string& network) const {
  const auto runs = runs_.find(network);
  if (runs == runs_.end()) return 0;
  double mean = 0;
  for (const auto& [repeat, percent] : runs->second) {
    mean += percent / static_cast<double>(runs->second.size());
  }
  return mean;
}

nlohmann::ordered_json Accuracies::ToJson() const {
  nlohmann::ordered_json result = nlohmann::ordered_json::object();
  for (const auto& [network, runs] : runs_) {
    const double mean = Mean(network);
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    double variance = 0;
    for (const auto& [repeat, percent] : runs) {
      list.push_back(percent);
      variance += (percent - mean) * (percent - mean) /
                  static_cast<double>(runs.size());
    }
    result[network] = {
        {"mean", mean}, {"std", std::sqrt(variance)}, {"runs", list}};
  }
  return result;
}

std::string NetworkLabel(const JobSpec& spec, const NetworkSpec& network) {
  return network == spec.network ? network.name : network.ToString();
}

absl::StatusOr<AccuracyTable> CollectAccuracies(const JobResult& result) {
  AccuracyTable sets;
  for (const FinishedTask& task : result.tasks) {
    if (task.kind != EvaluateParameters::kKind) continue;
    const auto parameters =
        ParseTaskParameters(task.kind, task.parameters_json);
    if (!parameters.ok()) return parameters.status();
    const auto& evaluate = std::get<EvaluateParameters>(*parameters);
    const nlohmann::ordered_json summary = ParseObject(task.summary_json);
    const auto add = [&](const char* member, const char* suffix) {
      const std::optional<double> accuracy = NumberOf(summary, member);
      if (!accuracy.has_value()) {
        return absl::InternalError(absl::StrCat("task ", task.id,
                                                " reported no ", member,
                                                ", so there is no report"));
      }
      sets[EvaluatedSetOf(task.id, evaluate) + suffix].Add(
          NetworkLabel(result.spec, evaluate.network), evaluate.repeat,
          *accuracy);
      return absl::OkStatus();
    };
    DASM_RETURN_IF_ERROR(add("accuracy", ""));
    if (evaluate.split == Split::kTestAndValidation) {
      DASM_RETURN_IF_ERROR(add("validation_accuracy", kOnValidation));
    }
  }
  return sets;
}

}  // namespace dasm
