// One process's part in the calls of a gang of processes: sends what
// exchange_plan.h says, checks what comes, adds.
#ifndef DASM_WORKER_COLLECTIVE_PROCESS_EXCHANGE_H_
#define DASM_WORKER_COLLECTIVE_PROCESS_EXCHANGE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "worker/collective/exchange_plan.h"
#include "worker/collective/peer_link.h"
#include "worker/collective/thread_meeting.h"

namespace dasm {

// Threads: Run() by one thread at a time; the others from any.
class ProcessExchange {
 public:
  // The meeting at the end of Join, as a number of a call.
  static constexpr uint64_t kJoinCall = ~uint64_t{0};

  struct Options {
    int process = 0;
    Reduction reduction = Reduction::kOrdered;
    // As ProcessGang::Options::corrupt.
    std::function<void(absl::Span<char>)> corrupt;
  };

  // `links` by process, null for this one; they and `events` are borrowed.
  ProcessExchange(const GangLayout& layout, Options options, LinkEvents* events,
                  std::vector<PeerLink*> links);

  // `calls` of the local threads, in order; all the same but for the buffers.
  // On OK the first thread has the result: the sum, the bytes, or the rows of
  // the other processes (rows of local threads are not copied). Touches no
  // buffer after it has returned. Errors as in process_gang.h; when the gang
  // fails (LinkEvents::failure), that.
  absl::Status Run(const std::vector<CollectiveCall>& calls, uint64_t number,
                   absl::Duration timeout);

  int64_t payload_bytes_sent() const { return payload_bytes_sent_.load(); }

 private:
  class Call;

  const GangLayout layout_;
  const Options options_;
  LinkEvents* const events_;
  const std::vector<PeerLink*> links_;
  std::atomic<int64_t> payload_bytes_sent_ = 0;
  // Rows of the block that is being added.
  std::vector<float> staging_;
};

// "rank 2", or "ranks 2 to 3".
std::string RanksOf(const GangLayout& layout, int process);

}  // namespace dasm

#endif  // DASM_WORKER_COLLECTIVE_PROCESS_EXCHANGE_H_
