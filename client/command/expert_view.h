// Experts as people read and write them.
#ifndef DASM_CLIENT_COMMAND_EXPERT_VIEW_H_
#define DASM_CLIENT_COMMAND_EXPERT_VIEW_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dasm/v1/expert.pb.h"

namespace dasm {

// "30d", "12h", "1h30m", or seconds. INVALID_ARGUMENT naming the option.
absl::StatusOr<absl::Duration> ParseAge(const std::string& text,
                                        const std::string& option);

// "1a2b3c4d5e6f-1" of "experts/1a2b3c4d5e6f...-1": what every verb takes.
std::string ShortExpertName(const std::string& name);

// A line each, no wider than `columns` (0: as wide as they get).
std::string ExpertTable(const std::vector<v1::Expert>& experts, absl::Time now,
                        int columns);
// Everything about one that was read in full.
std::string DescribeExpert(const v1::Expert& expert, absl::Time now);
// "ok  1a2b3c4d5e6f-1  sha256:...  12.3 MiB"
std::string VerdictLine(const v1::VerifyExpertResponse& response);
// What was pruned, or with `dry_run` would be, and what is in use.
std::string PruneSummary(const v1::PruneExpertsResponse& response, bool dry_run,
                         absl::Time now, int columns);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_EXPERT_VIEW_H_
