// How the ranks of a gang add: the spec's `reduction`, part of the action key.
#ifndef DASM_WORKER_COLLECTIVE_REDUCTION_H_
#define DASM_WORKER_COLLECTIVE_REDUCTION_H_

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace dasm {

enum class Reduction {
  // In shard order: the same bits for any number of ranks.
  kOrdered,
  // Every process first adds its own shards, in shard order, then the partial
  // sums are added in process order: fewer bytes, and the same bits only for
  // the same processes with the same threads. In one process it is kOrdered.
  kFast,
};

// "ordered", "fast".
std::string_view ReductionName(Reduction reduction);
// INVALID_ARGUMENT for any other name.
absl::StatusOr<Reduction> ParseReduction(std::string_view name);
// What a collective without a promise about the order calls when it is made:
// FAILED_PRECONDITION, class SPEC, naming `collective` (e.g. "NCCL"), unless
// `can_order` or `reduction` is kFast.
absl::Status CheckReduction(std::string_view collective, bool can_order,
                            Reduction reduction);

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_REDUCTION_H_
