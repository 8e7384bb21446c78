#include "server/planner/trajectory_report.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/spec/task_parameters.h"
#include "server/planner/summary_json.h"

namespace dasm {
namespace {

using Json = nlohmann::ordered_json;

int Iterations(const JobSpec& spec) {
  return spec.sequence.stages.empty() ? spec.trajectory->iterations
                                      : spec.sequence.stages.back().iterations;
}

// The sets that a protocol chooses among, by iteration: "synthetic" at the end,
// "snapshot-I" before; of the raw pixels "raw" and "raw-snapshot-I".
std::map<int, std::string> Candidates(const JobSpec& spec,
                                      const AccuracyTable& table, bool raw) {
  const std::string prefix = raw ? "raw-snapshot-" : "snapshot-";
  std::map<int, std::string> candidates;
  for (const auto& [set, accuracies] : table) {
    int iteration = 0;
    if (absl::StartsWith(set, prefix) &&
        absl::SimpleAtoi(set.substr(prefix.size()), &iteration)) {
      candidates[iteration] = set;
    }
  }
  const std::string end = raw ? "raw" : "synthetic";
  if (table.contains(end)) candidates[Iterations(spec)] = end;
  return candidates;
}

// One set is chosen for all networks: by the job's own where that is evaluated,
// else by the first of the list.
std::string DecidingNetwork(const JobSpec& spec) {
  const auto& networks = spec.evaluation.networks;
  const bool own = std::find(networks.begin(), networks.end(), spec.network) !=
                   networks.end();
  return NetworkLabel(spec, own ? spec.network : networks.front());
}

struct Choice {
  int iteration = 0;
  std::string set;  // empty: there is none
};

// The end of the run, or the best mean of the deciding network; of equal ones
// the first.
Choice Choose(const JobSpec& spec, const AccuracyTable& table, bool raw) {
  const std::map<int, std::string> candidates = Candidates(spec, table, raw);
  if (candidates.empty()) return {};
  const Protocol protocol = spec.evaluation.protocol;
  const auto& [end, last] = *candidates.rbegin();
  if (protocol == Protocol::kLast) return {end, last};
  const std::string network = DecidingNetwork(spec);
  Choice choice;
  double best = -1;
  for (const auto& [iteration, set] : candidates) {
    const auto judged = table.find(
        protocol == Protocol::kValidation ? set + kOnValidation : set);
    if (judged == table.end()) continue;
    const double mean = judged->second.Mean(network);
    if (mean <= best) continue;
    best = mean;
    choice = {iteration, set};
  }
  return choice;
}

std::string Meaning(const JobSpec& spec) {
  switch (spec.evaluation.protocol) {
    case Protocol::kLast:
      return "the set at the end of the run, on the test images";
    case Protocol::kValidation:
      return absl::StrCat(
          "of all snapshots the one with the best accuracy of ",
          DecidingNetwork(spec),
          " on the validation split, which nothing was trained on; its "
          "accuracy on the test images");
    case Protocol::kPaper:
      return absl::StrCat(
          "the best of all snapshots, chosen by the accuracy of ",
          DecidingNetwork(spec),
          " on the same test images, as published numbers are: optimistic");
  }
  return "";
}

// The blob of a chosen set, where one segment's task wrote it.
std::optional<std::string> DigestOf(const JobResult& result,
                                    const Choice& choice) {
  const JobSpec& spec = result.spec;
  const bool end = choice.iteration == Iterations(spec);
  const std::string task_id =
      absl::StrCat("segment-", spec.sequence.segments.size());
  const std::string name =
      end ? "segment" : absl::StrCat("snapshot.", choice.iteration);
  for (const FinishedTask& task : result.tasks) {
    if (task.id != task_id) continue;
    for (const FinishedTask::Output& output : task.outputs) {
      if (output.name == name) return output.digest;
    }
  }
  return std::nullopt;
}

void AddProtocol(const JobResult& result, const AccuracyTable& table,
                 Json* report) {
  const JobSpec& spec = result.spec;
  const Protocol protocol = spec.evaluation.protocol;
  (*report)["protocol"] = nlohmann::json(protocol).get<std::string>();
  (*report)["protocol_meaning"] = Meaning(spec);
  const Choice raw = Choose(spec, table, /*raw=*/true);
  if (!raw.set.empty()) {
    Json member = {{"accuracy", table.at(raw.set).ToJson()}};
    if (protocol != Protocol::kLast) member["iteration"] = raw.iteration;
    (*report)["raw"] = std::move(member);
  }
  if (protocol == Protocol::kLast) return;
  const Choice choice = Choose(spec, table, /*raw=*/false);
  Json snapshot = {{"iteration", choice.iteration}};
  if (const auto digest = DigestOf(result, choice)) {
    snapshot["digest"] = *digest;
  }
  (*report)["snapshot"] = std::move(snapshot);
  Json snapshots = Json::array();
  for (const auto& [iteration, set] : Candidates(spec, table, false)) {
    for (const auto& [split, name] :
         {std::pair("validation", set + kOnValidation), {"test", set}}) {
      const auto found = table.find(name);
      if (found == table.end()) continue;
      snapshots.push_back({{"iteration", iteration},
                           {"split", split},
                           {"accuracy", found->second.ToJson()}});
    }
  }
  (*report)["snapshots"] = std::move(snapshots);
}

void AddOrders(const JobSpec& spec, const AccuracyTable& table, Json* report) {
  if (spec.sequence.segments.size() < 2) return;
  Json orders = Json::object();
  const auto& asked = spec.evaluation.orders;
  for (size_t i = 0; i < asked.size(); ++i) {
    const std::string name = nlohmann::json(asked[i]).get<std::string>();
    const auto found =
        table.find(i == 0 ? "synthetic" : absl::StrCat("synthetic-", name));
    if (found == table.end()) continue;
    orders[name] = {{"accuracy", found->second.ToJson()}};
  }
  (*report)["orders"] = std::move(orders);
}

// Counted from 1.
int SegmentOf(const FinishedTask& task) {
  const Json parameters = ParseObject(task.parameters_json);
  return static_cast<int>(NumberOf(parameters, "segment").value_or(0)) + 1;
}

void AddSegments(const JobResult& result, Json* report) {
  std::map<int, Json> summaries;
  for (const FinishedTask& task : result.tasks) {
    if (task.kind == MatchTrajectoriesParameters::kKind) {
      summaries[SegmentOf(task)] = ParseObject(task.summary_json);
    }
  }
  for (const auto& [member, from] :
       {std::pair("step_sizes", "step_size"),
        std::pair("label_entropy", "label_entropy"),
        std::pair("skipped_iterations", "skipped")}) {
    Json values = Json::array();
    for (const auto& [segment, summary] : summaries) {
      if (const auto value = NumberOf(summary, from)) {
        values.push_back(summary[from]);
      }
    }
    if (!values.empty()) (*report)[member] = std::move(values);
  }
}

// "experts-7" belongs to the first segment and has one `own` number, like
// "experts-2-7" of the second; "range" and "range-2" have none.
int SegmentOfId(const std::string& id, size_t own) {
  std::vector<int> numbers;
  for (const absl::string_view part : absl::StrSplit(id, '-')) {
    int number = 0;
    if (absl::SimpleAtoi(part, &number)) numbers.push_back(number);
  }
  return numbers.size() > own ? numbers.front() : 1;
}

void AddRanges(const JobResult& result, Json* report) {
  std::map<int, Json> ranges;
  for (const FinishedTask& task : result.tasks) {
    if (task.kind != FindRangeParameters::kKind) continue;
    const int segment = SegmentOfId(task.id, 0);
    ranges[segment] = {{"segment", segment}};
    ranges[segment].update(WithoutNulls(ParseObject(task.summary_json)));
  }
  if (ranges.empty()) return;
  Json list = Json::array();
  for (auto& [segment, range] : ranges) list.push_back(std::move(range));
  (*report)["ranges"] = std::move(list);
}

// A mean over experts, of groups that report their own mean.
class Mean {
 public:
  void Add(const std::optional<double>& value, int count) {
    if (!value.has_value()) return;
    sum_ += *value * count;
    count_ += count;
  }
  void Write(const char* name, Json* object) const {
    if (count_ > 0) (*object)[name] = sum_ / count_;
  }

 private:
  double sum_ = 0;
  int count_ = 0;
};

struct ExpertGroup {
  int count = 0;
  int epochs = 0;
  Mean accuracy;
  Mean loss;
};

void AddExperts(const JobResult& result, Json* report) {
  std::map<int, ExpertGroup> by_segment;
  for (const FinishedTask& task : result.tasks) {
    // Without the held-out ones.
    if (task.kind != TrainExpertsParameters::kKind ||
        !absl::StartsWith(task.id, "experts-")) {
      continue;
    }
    const Json parameters = ParseObject(task.parameters_json);
    const Json summary = ParseObject(task.summary_json);
    const int count =
        static_cast<int>(NumberOf(parameters, "count").value_or(1));
    ExpertGroup& group = by_segment[SegmentOfId(task.id, 1)];
    group.count += count;
    const auto training = parameters.find("training");
    if (training != parameters.end()) {
      group.epochs =
          static_cast<int>(NumberOf(*training, "epochs").value_or(0));
    }
    group.accuracy.Add(NumberOf(summary, "training_accuracy"), count);
    group.loss.Add(NumberOf(summary, "final_loss"), count);
  }
  Json list = Json::array();
  for (const auto& [segment, group] : by_segment) {
    Json entry = {
        {"segment", segment}, {"count", group.count}, {"epochs", group.epochs}};
    group.accuracy.Write("training_accuracy", &entry);
    group.loss.Write("final_loss", &entry);
    list.push_back(std::move(entry));
  }
  (*report)["experts"] = std::move(list);
}

}  // namespace

const Accuracies& ChosenAccuracies(const JobResult& result,
                                   const AccuracyTable& table) {
  static const auto* none = new Accuracies();
  const Choice choice = Choose(result.spec, table, /*raw=*/false);
  return choice.set.empty() ? *none : table.at(choice.set);
}

void AddTrajectoryMembers(const JobResult& result, const AccuracyTable& table,
                          Json* report) {
  AddProtocol(result, table, report);
  AddOrders(result.spec, table, report);
  AddSegments(result, report);
  AddRanges(result, report);
  AddExperts(result, report);
}

}  // namespace dasm
