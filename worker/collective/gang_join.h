// How the processes of a gang find each other: each dials those of lower
// number and is dialled by those of higher number, and every pair proves the
// secret to each other (gang_proof.h, dasm/worker/v1/collective.proto).
#ifndef DASM_WORKER_COLLECTIVE_GANG_JOIN_H_
#define DASM_WORKER_COLLECTIVE_GANG_JOIN_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/collective/exchange_plan.h"
#include "worker/collective/gang_network.h"

namespace dasm {

struct GangJoin {
  int process = 0;
  std::vector<std::string> endpoints;  // by process
  std::vector<int> threads;            // by process
  std::string secret;
  uint64_t fence = 0;
  Reduction reduction = Reduction::kOrdered;
  absl::Duration timeout;
};

// Blocks until all links are proved; hands each to `established` as soon as it
// is. `deadline` is `join.timeout` from the start of the join.
//
// A stream whose proof is wrong is refused and waited for again: a stranger, or
// a process of an older attempt, must not end the gang. Errors name the rank:
//   PERMISSION_DENIED    the listener dialled proved another secret, or nobody
//                        else came in the name of a rank that did
//   DEADLINE_EXCEEDED    a rank did not come
//   FAILED_PRECONDITION  a rank knows another gang or speaks another protocol
//   UNAVAILABLE          a listener ended the connection
// or LinkEvents::failure.
absl::Status JoinGang(
    const GangJoin& join, GangNetwork* network,
    std::chrono::steady_clock::time_point deadline,
    const std::function<void(int process, PeerLink* link)>& established);

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_GANG_JOIN_H_
