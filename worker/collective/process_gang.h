// The Collective of ranks in several processes, each holding some of them as
// threads. Threads of a process meet in memory (thread_meeting.h); the first of
// them talks to the other processes over one gRPC stream a pair
// (dasm/worker/v1/collective.proto). What travels is defined by
// exchange_plan.h.
//
// Ranks count over the threads of all processes: process p begins behind the
// threads of the processes before it.
//
// Trajectory matching needs nothing more than SumShards: each inner step is one
// sum of parameter gradients in the first pass and one of the adjoint in the
// second.
//
// Security: peers prove the gang's secret to each other before anything else is
// believed; payloads carry a checksum but are not encrypted, so a gang belongs
// on a network whose hosts are trusted.
//
// Errors of Join and of every call have failure class COLLECTIVE, and the first
// one is that of all processes:
//   DEADLINE_EXCEEDED  a rank did not come, finish or answer in time
//   UNAVAILABLE        a rank's connection ended or its Collective was
//                      destroyed
//   PERMISSION_DENIED  a rank proved another secret
//   INTERNAL           ranks made different calls
//   DATA_LOSS          a rank's payload arrived with another checksum
// or the code and class given to Abort(). All name the rank; those of a call
// name the call.
#ifndef DASM_WORKER_COLLECTIVE_PROCESS_GANG_H_
#define DASM_WORKER_COLLECTIVE_PROCESS_GANG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "worker/collective/collective.h"
#include "worker/collective/reduction.h"

namespace dasm {

// One process of a gang.
class ProcessGang {
 public:
  struct Member {
    std::string endpoint;  // what Listen() resolved, as its peers see it
    int threads = 1;       // ranks in the process, 1 .. 1024
  };
  struct Options {
    Reduction reduction = Reduction::kOrdered;
    // Of the attempt: a process of an older attempt is refused.
    uint64_t fence = 0;
    // A call may take max(this, 20 x the median of the last calls).
    absl::Duration minimum_deadline = absl::Seconds(60);
    // Until every process has reached every other.
    absl::Duration join_timeout = absl::Seconds(60);
    // For tests: changes a payload after its checksum was taken.
    std::function<void(absl::Span<char> payload)> corrupt;
  };

  // `endpoint` is "host:port" (port 0: any) or "unix:PATH"; an existing socket
  // file is replaced. UNAVAILABLE when it cannot be listened on.
  static absl::StatusOr<std::unique_ptr<ProcessGang>> Listen(
      const std::string& endpoint);
  // Ends what is pending as UNAVAILABLE, unless Join() succeeded: then the
  // gang lives as long as the last Collective.
  ~ProcessGang();

  // With the port resolved.
  const std::string& endpoint() const;

  // Blocks until every process of the gang has joined; once only. `members` are
  // in process order and the same in each; this one is members[process].
  // `secret` has 32 bytes. Returns one Collective a local thread, in rank
  // order. INVALID_ARGUMENT for arguments that make no sense.
  absl::StatusOr<std::vector<std::unique_ptr<Collective>>> Join(
      int process, const std::vector<Member>& members, std::string secret,
      Options options);

  // As Collective::Abort(), and ends a Join(). Thread-safe.
  void Abort(absl::Status why);

  // Payload sent to other processes since Join(): frames and their headers do
  // not count. Equals ExchangePlan::PayloadBytesSent() summed over the calls.
  // Thread-safe.
  int64_t payload_bytes_sent() const;

 private:
  class State;
  class ProcessCollective;
  explicit ProcessGang(std::shared_ptr<State> state);

  const std::shared_ptr<State> state_;
};

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_PROCESS_GANG_H_
