#include "server/scheduler/lease_table.h"

#include <algorithm>

namespace dasm {

LeaseTable::Renewal LeaseTable::Renew(const std::string& worker,
                                      const std::string& incarnation) {
  auto [it, inserted] = leases_.try_emplace(worker);
  Lease& lease = it->second;
  // A lease whose time is over has ended even if Expire was not asked yet: the
  // caller must see it end before it is renewed.
  const bool live = lease.live && clock_->Steady() < lease.expires;
  const std::string before = lease.incarnation;
  lease.incarnation = incarnation;
  lease.live = true;
  lease.expires = clock_->Steady() + period_;
  if (inserted) return Renewal::kFirst;
  if (!before.empty() && before != incarnation) return Renewal::kReplaced;
  return live ? Renewal::kRenewed : Renewal::kReturned;
}

void LeaseTable::Restore(const std::string& worker) {
  auto [it, inserted] = leases_.try_emplace(worker);
  if (inserted) it->second.expires = clock_->Steady() + period_;
}

std::vector<std::string> LeaseTable::Expire() {
  std::vector<std::string> ended;
  const absl::Duration now = clock_->Steady();
  for (auto& [worker, lease] : leases_) {
    if (!lease.live || now < lease.expires) continue;
    lease.live = false;
    ended.push_back(worker);
  }
  return ended;
}

bool LeaseTable::IsLive(const std::string& worker) const {
  const auto it = leases_.find(worker);
  return it != leases_.end() && it->second.live;
}

absl::Duration LeaseTable::UntilNextExpiry() const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [worker, lease] : leases_) {
    if (lease.live) next = std::min(next, lease.expires - clock_->Steady());
  }
  return next;
}

}  // namespace dasm
