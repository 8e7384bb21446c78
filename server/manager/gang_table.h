// Where the ranks of a gang find each other. Every rank's agent brings the
// endpoint of its runner; once all are there each takes the whole list and the
// secret that the runners prove to each other.
//
// A gang is one attempt: (action key, fence). Its secret is 32 random bytes,
// made with the first member and held in memory only. After a restart of the
// coordinator a gang that had not met yet gets another one: runners that were
// told the old one fail the proof, and the attempt is retried as COLLECTIVE. A
// gang that had met does not come back here.
//
// Threads: not thread-safe; the job manager's lock guards it. Answers to held
//   calls are handed out, to be made once the lock is gone.
// Time: the steady clock.
#ifndef DASM_SERVER_MANAGER_GANG_TABLE_H_
#define DASM_SERVER_MANAGER_GANG_TABLE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace dasm {

struct GangMember {
  int rank = 0;
  std::string endpoint;   // "host:port" or "unix:PATH"
  std::string device_id;  // NCCL's unique id, of rank 0; as secret as `secret`
  int threads = 1;        // ranks of the collective inside the process
  std::string device;     // "<machine>/<device>"; empty: a CPU
};

// INVALID_ARGUMENT naming the member's field: an endpoint that nobody could
// connect to, threads below 1, an over-long device.
absl::Status CheckGangMember(const GangMember& member);

struct GangRoster {
  bool complete = false;
  // Empty unless complete.
  std::string secret;
  std::vector<GangMember> members;  // by rank
};

// ABORTED (STALE_FENCE) for an attempt `fence` of task `key` that was replaced.
absl::Status StaleFence(const std::string& key, uint64_t fence);

class GangTable {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<GangRoster>)>;
  using Answers = std::vector<absl::AnyInvocable<void()>>;

  static constexpr absl::Duration kHold = absl::Seconds(10);

  // Borrows `clock`.
  explicit GangTable(const Clock* clock) : clock_(clock) {}

  // One member of a gang of `ranks`; member.rank is below it. `done` is called
  // when the gang is complete, or incomplete after kHold; an older call of the
  // same rank is answered as incomplete. A member of an incomplete gang may
  // come with another endpoint: its runner was started again.
  // An error means that the gang can never meet and its attempt must end; then
  // `done` is left alone, and the caller answers it and calls Prune:
  //   FAILED_PRECONDITION (TWO_RANKS_ON_ONE_DEVICE)  naming both ranks
  //   ABORTED (GANG_CHANGED)  another endpoint after the others were told
  absl::Status Join(const std::string& key, uint64_t fence, int ranks,
                    GangMember member, Done* done, Answers* answers);
  // Answers the calls whose hold is over.
  void Expire(Answers* answers);
  // Forgets the gangs, and with them the secrets, of attempts that are not
  // `current`, and answers their calls with ABORTED (STALE_FENCE).
  void Prune(const std::function<bool(const std::string& key, uint64_t fence)>&
                 current,
             Answers* answers);
  // Answers every held call with `status`.
  void Refuse(const absl::Status& status, Answers* answers);

  // The endpoints known of an attempt's ranks, "" for one that has not joined.
  std::vector<std::string> Endpoints(const std::string& key,
                                     uint64_t fence) const;
  size_t size() const { return gangs_.size(); }

 private:
  struct Seat {
    std::optional<GangMember> member;
    Done held;  // null: no call is held
    absl::Duration held_until;
  };
  struct Gang {
    std::string secret;
    std::vector<Seat> seats;  // by rank

    bool IsComplete() const;
    GangRoster Roster() const;
  };

  const Clock* const clock_;
  std::map<std::pair<std::string, uint64_t>, Gang> gangs_;
};

}  // namespace dasm

#endif  // DASM_SERVER_MANAGER_GANG_TABLE_H_
