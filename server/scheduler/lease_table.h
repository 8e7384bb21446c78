// Which workers are being heard of. A lease is a worker's time-limited right to
// run what it was assigned; receipt of a Synchronize call renews it.
//
// Threads: not thread-safe; the job manager's lock guards it. Time: the steady
//   clock only, so that a jump of the wall clock neither ends nor prolongs one.
#ifndef DASM_SERVER_SCHEDULER_LEASE_TABLE_H_
#define DASM_SERVER_SCHEDULER_LEASE_TABLE_H_

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/base/clock.h"

namespace dasm {

class LeaseTable {
 public:
  enum class Renewal {
    kFirst,     // not known before
    kRenewed,   // the same process again
    kReturned,  // the same process, after its lease had ended
    kReplaced,  // another process of the same worker: what the old one ran is
                // over, whatever time was left
  };

  // Borrows `clock`.
  LeaseTable(const Clock* clock, absl::Duration period)
      : clock_(clock), period_(period) {}

  // `incarnation` tells processes of one worker apart.
  Renewal Renew(const std::string& worker, const std::string& incarnation);
  // A worker known from the store after a restart: one full fresh period. Its
  // process is not known, so the next Renew adopts it as kRenewed. Nothing
  // happens when the worker is in the table.
  void Restore(const std::string& worker);
  // Workers whose lease ended since the last call, in order of name.
  std::vector<std::string> Expire();
  // Ends the worker's place in the table.
  void Forget(const std::string& worker) { leases_.erase(worker); }

  // False also for a worker that is not in the table.
  bool IsLive(const std::string& worker) const;
  // Time until the next lease ends; InfiniteDuration without one.
  absl::Duration UntilNextExpiry() const;
  absl::Duration period() const { return period_; }

 private:
  struct Lease {
    std::string incarnation;  // empty: not known since the restart
    absl::Duration expires;
    bool live = true;
  };

  const Clock* const clock_;
  const absl::Duration period_;
  std::map<std::string, Lease> leases_;
};

}  // namespace dasm

#endif  // DASM_SERVER_SCHEDULER_LEASE_TABLE_H_
