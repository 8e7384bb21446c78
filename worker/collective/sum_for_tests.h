// A sum that every rank calls, for tests of gangs.
#ifndef DASM_WORKER_COLLECTIVE_SUM_FOR_TESTS_H_
#define DASM_WORKER_COLLECTIVE_SUM_FOR_TESTS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/collective/collective.h"

namespace dasm {

// `shards` rows of `length` ones, of the ranks from `first_owner` on; `first`:
// the first of the sums, if wanted.
inline absl::Status SumOnes(Collective* c, int64_t shards = 4,
                            int64_t length = 40, float* first = nullptr,
                            int first_owner = 0) {
  std::vector<float> rows(shards * length, 1.0f);
  std::vector<float> sum(length);
  absl::Status status =
      c->SumShards(rows, shards, absl::MakeSpan(sum), first_owner);
  if (first != nullptr) *first = sum[0];
  return status;
}

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_SUM_FOR_TESTS_H_
