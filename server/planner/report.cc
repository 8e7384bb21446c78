#include "server/planner/report.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/spec/job_spec_proto.h"
#include "common/spec/yaml.h"
#include "server/planner/accuracy_table.h"
#include "server/planner/summary_json.h"
#include "server/planner/trajectory_report.h"

namespace dasm {
namespace {

using Json = nlohmann::ordered_json;

// The number after the last '-' or letter; 0 when there is none.
int TrailingNumber(std::string_view id) {
  const size_t last = id.find_last_not_of("0123456789");
  const std::string digits(
      last == std::string_view::npos ? id : id.substr(last + 1));
  int number = 0;
  return absl::SimpleAtoi(digits, &number) ? number : 0;
}

// The task and output that synthetic.safetensors is.
struct SetOutput {
  const FinishedTask* task = nullptr;
  const FinishedTask::Output* output = nullptr;
};

SetOutput FindSet(const JobResult& result) {
  const bool evaluate_only = result.spec.synthetic_set.has_value();
  const std::string task_id = evaluate_only ? "set" : "assemble";
  const std::string name = evaluate_only ? "set" : "synthetic";
  for (const FinishedTask& task : result.tasks) {
    if (task.id != task_id) continue;
    for (const FinishedTask::Output& output : task.outputs) {
      if (output.name == name) return {&task, &output};
    }
  }
  return {};
}

void AddBaselines(const AccuracyTable& sets, Json* report) {
  Json baselines = Json::object();
  for (const char* name : {"random", "tiles", "start"}) {
    const auto found = sets.find(name);
    if (found != sets.end()) {
      baselines[name] = {{"accuracy", found->second.ToJson()}};
    }
  }
  (*report)["baselines"] = std::move(baselines);
}

void AddPrefixes(const JobSpec& spec, const AccuracyTable& sets, Json* report) {
  Json prefixes = Json::array();
  int images_per_class = 0;
  for (size_t k = 1; k < spec.sequence.segments.size(); ++k) {
    images_per_class += spec.sequence.segments[k - 1];
    const auto found = sets.find(absl::StrCat("prefix", k));
    if (found == sets.end()) continue;
    prefixes.push_back({{"images_per_class", images_per_class},
                        {"accuracy", found->second.ToJson()}});
  }
  (*report)["prefixes"] = std::move(prefixes);
}

void AddBoundaries(const JobResult& result, Json* report) {
  std::map<int, Json> by_segment;
  for (const FinishedTask& task : result.tasks) {
    if (task.kind != SelectPoolParameters::kKind) continue;
    by_segment[TrailingNumber(task.id)] =
        WithoutNulls(ParseObject(task.summary_json));
  }
  Json learned = Json::array();
  Json boundaries = Json::array();
  for (const auto& [segment, summary] : by_segment) {
    if (const auto fraction = NumberOf(summary, "learned_fraction")) {
      learned.push_back(*fraction);
    }
    Json boundary = {{"before_segment", segment}};
    boundary.update(summary);
    boundaries.push_back(std::move(boundary));
  }
  (*report)["learned_fraction"] = std::move(learned);
  (*report)["boundaries"] = std::move(boundaries);
}

bool Reproducible(const JobResult& result) {
  return result.spec.synthetic_set.has_value() ||
         result.spec.execution.reduction == ReductionOrder::kOrdered;
}

Json Seconds(const JobResult& result) {
  double distill = 0;
  double evaluate = 0;
  double experts = 0;
  for (const FinishedTask& task : result.tasks) {
    if (!std::isfinite(task.seconds)) continue;
    if (task.kind == EvaluateParameters::kKind ||
        task.kind == SelectCoresetParameters::kKind) {
      evaluate += task.seconds;
    } else if (task.kind == TrainExpertsParameters::kKind) {
      experts += task.seconds;
    } else if (task.kind != PrepareDatasetParameters::kKind &&
               task.kind != WhitenDatasetParameters::kKind &&
               task.kind != ImportScoresParameters::kKind &&
               task.kind != ImportSetParameters::kKind) {
      distill += task.seconds;
    }
  }
  Json seconds = {{"distill", distill}, {"evaluate", evaluate}};
  if (result.spec.trajectory.has_value()) seconds["experts"] = experts;
  seconds["total"] =
      std::isfinite(result.total_seconds) ? result.total_seconds : 0.0;
  return seconds;
}

void AddMemory(const JobResult& result, Json* report) {
  int64_t host = 0;
  int64_t device = 0;
  for (const FinishedTask& task : result.tasks) {
    host = std::max(host, task.peak_host_bytes);
    device = std::max(device, task.peak_device_bytes);
  }
  Json memory = Json::object();
  if (host > 0) memory["peak_host_bytes"] = host;
  if (device > 0) memory["peak_device_bytes"] = device;
  if (!memory.empty()) (*report)["memory"] = std::move(memory);
}

}  // namespace

absl::StatusOr<std::string> ReportJson(const JobResult& result) {
  const SetOutput set = FindSet(result);
  if (set.output == nullptr) {
    return absl::InternalError("the job has no synthetic set to report on");
  }
  auto accuracies = CollectAccuracies(result);
  if (!accuracies.ok()) return accuracies.status();
  const Json set_summary = WithoutNulls(ParseObject(set.task->summary_json));

  Json report;
  report["method"] = result.spec.Method();
  report["dataset"] = result.spec.dataset.name;
  if (!result.spec.synthetic_set.has_value()) {
    report["images_per_class"] = result.spec.images_per_class;
  } else if (set_summary.contains("images_per_class")) {
    report["images_per_class"] = set_summary["images_per_class"];
  }
  if (set_summary.contains("stored_bytes")) {
    report["stored_bytes"] = set_summary["stored_bytes"];
  }
  const bool matched = result.spec.trajectory.has_value();
  report["accuracy"] = (matched ? ChosenAccuracies(result, *accuracies)
                                : (*accuracies)["synthetic"])
                           .ToJson();
  if (matched) AddTrajectoryMembers(result, *accuracies, &report);
  AddBaselines(*accuracies, &report);
  AddPrefixes(result.spec, *accuracies, &report);
  AddBoundaries(result, &report);
  report["numerics_class"] = result.numerics_class;
  report["reproducible"] = Reproducible(result);
  Json replanned = Json::array();
  for (const FinishedTask& task : result.tasks) {
    if (task.replanned_micro_batch == 0) continue;
    replanned.push_back(
        {{"task", task.id}, {"micro_batch", task.replanned_micro_batch}});
  }
  if (!replanned.empty()) report["replanned"] = std::move(replanned);
  report["seconds"] = Seconds(result);
  AddMemory(result, &report);
  report["seed"] = result.spec.seed;
  report["digest"] = set.output->digest;
  report["tool_version"] = result.tool_version;
  return report.dump(2) + "\n";
}

absl::StatusOr<std::string> ManifestJson(const JobResult& result) {
  Json manifest;
  manifest["format"] = 1;
  manifest["tool_version"] = result.tool_version;
  manifest["numerics_class"] = result.numerics_class;
  manifest["reproducible"] = Reproducible(result);
  manifest["spec"] = ToJson(ToProto(result.spec));
  Json files = Json::object();
  Json tasks = Json::array();
  for (const FinishedTask& task : result.tasks) {
    Json entry;
    entry["id"] = task.id;
    entry["kind"] = task.kind;
    entry["action_key"] = task.action_key;
    entry["parents"] = task.parents;
    entry["parameters"] = ParseObject(task.parameters_json);
    entry["summary"] = WithoutNulls(ParseObject(task.summary_json));
    Json outputs = Json::object();
    for (const FinishedTask::Output& output : task.outputs) {
      outputs[output.name] = {{"digest", output.digest},
                              {"size_bytes", output.size_bytes},
                              {"chunk_digests", output.chunk_digests}};
    }
    if (task.kind == AssembleParameters::kKind) files = outputs;
    entry["outputs"] = std::move(outputs);
    tasks.push_back(std::move(entry));
  }
  manifest["files"] = std::move(files);
  manifest["tasks"] = std::move(tasks);
  return manifest.dump(2) + "\n";
}

}  // namespace dasm
