// Which experts a list or a prune is about, as people write it:
// dataset=cifar-10 AND use_time<"2026-01-31T00:00:00Z" (dasm/v1/expert.proto).
#ifndef DASM_SERVER_SERVICE_EXPERT_FILTER_H_
#define DASM_SERVER_SERVICE_EXPERT_FILTER_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dasm/v1/expert.pb.h"
#include "server/store/job_store.h"

namespace dasm {

struct ExpertFilter {
  std::optional<std::string> dataset;
  std::optional<std::string> network;
  std::optional<bool> in_use;
  absl::Time created_before = absl::InfiniteFuture();
  absl::Time used_before = absl::InfiniteFuture();

  bool Matches(const v1::Expert& expert) const;
};

// Empty: everything. INVALID_ARGUMENT (field filter) naming the term.
absl::StatusOr<ExpertFilter> ParseExpertFilter(const std::string& text);

// The last expert of a page.
struct ExpertPosition {
  ResultPosition group;
  int number = 0;  // in its group; the group's later ones come next
};

// Opaque and bound to `filter`.
std::string EncodeExpertToken(const std::string& filter,
                              const ExpertPosition& last);
// INVALID_ARGUMENT (field page_token) for what the above did not give for
// `filter`.
absl::StatusOr<ExpertPosition> DecodeExpertToken(const std::string& filter,
                                                 const std::string& token);

}  // namespace dasm

#endif  // DASM_SERVER_SERVICE_EXPERT_FILTER_H_
