// The Collective of ranks that are threads of one process (`--threads T`, and
// tests). Nothing is copied but results: ranks publish pointers, meet, read
// each other's buffers, and meet again.
#ifndef DASM_WORKER_COLLECTIVE_THREAD_COLLECTIVE_H_
#define DASM_WORKER_COLLECTIVE_THREAD_COLLECTIVE_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/collective/collective.h"
#include "worker/collective/reduction.h"

namespace dasm {

class ThreadGang {
 public:
  // One Collective a rank, in rank order, to be handed to a thread each. The
  // gang lives as long as the last of them.
  //
  // In one process both reductions are the sum in shard order.
  // `timeout`: how long a rank waits for its peers in one call; 0 waits for
  // ever. Errors of the calls, beside those of collective.h; every one carries
  // failure class COLLECTIVE, and the first one is that of all ranks:
  //   DEADLINE_EXCEEDED  names the call and the ranks that did not come
  //   UNAVAILABLE        names the rank whose Collective was destroyed
  //   INTERNAL           the ranks made different calls
  // No buffer is touched after the call it was given to has returned, whatever
  // it returned.
  //   INVALID_ARGUMENT   ranks not in 1 .. 1024, a negative timeout
  static absl::StatusOr<std::vector<std::unique_ptr<Collective>>> Create(
      int ranks, absl::Duration timeout,
      Reduction reduction = Reduction::kOrdered);
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_THREAD_COLLECTIVE_H_
