// What a job's evaluations measured: accuracies by evaluated set, network and
// repeat.
#ifndef DASM_SERVER_PLANNER_ACCURACY_TABLE_H_
#define DASM_SERVER_PLANNER_ACCURACY_TABLE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/planner/report.h"

namespace dasm {

// Of one evaluated set, in percent. Networks by their label: the job's own is
// called by its name ("convnet"), others in full.
class Accuracies {
 public:
  void Add(const std::string& network, int repeat, double percent) {
    runs_[network][repeat] = percent;
  }
  // Over the repeats; 0 for a network that was not evaluated.
  double Mean(const std::string& network) const;
  // {network: {"mean", "std" (of the population), "runs"}}
  nlohmann::ordered_json ToJson() const;

 private:
  std::map<std::string, std::map<int, double>> runs_;
};

std::string NetworkLabel(const JobSpec& spec, const NetworkSpec& network);

// Behind the name of a set: its accuracies on the validation split.
inline constexpr char kOnValidation[] = "-validation";

// By the set's name in its tasks' ids (evaluation_planner.h): "synthetic",
// "snapshot-500", "snapshot-500-validation". INTERNAL for an evaluation without
// an accuracy of every split it was asked for.
using AccuracyTable = std::map<std::string, Accuracies>;
absl::StatusOr<AccuracyTable> CollectAccuracies(const JobResult& result);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_ACCURACY_TABLE_H_
