// report.json of a finished job, for people.
#ifndef DASM_CLIENT_COMMAND_REPORT_TEXT_H_
#define DASM_CLIENT_COMMAND_REPORT_TEXT_H_

#include <string>

#include "absl/status/statusor.h"

namespace dasm {

// The accuracies of baselines, prefixes and the set, by network; of many
// networks a second table has a line each. DATA_LOSS for what is no report.
absl::StatusOr<std::string> AccuracyTable(const std::string& report_json);

// The table, and of a job that matched trajectories what its numbers are: the
// protocol in words, the chosen snapshot, experts, ranges, step sizes. A file
// may hold anything: what is of another type is left out.
absl::StatusOr<std::string> ReportText(const std::string& report_json);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_REPORT_TEXT_H_
