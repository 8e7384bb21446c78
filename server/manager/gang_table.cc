#include "server/manager/gang_table.h"

#include <openssl/rand.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/logging.h"

namespace dasm {
namespace {

constexpr int kSecretBytes = 32;
constexpr size_t kLongestHost = 255;
constexpr size_t kLongestUnixPath = 107;
constexpr size_t kLongestDevice = 256;
constexpr size_t kLongestDeviceId = 1024;
constexpr int kMostThreads = 4096;

std::string NewSecret() {
  std::string secret(kSecretBytes, '\0');
  DASM_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(secret.data()),
                        kSecretBytes) == 1);
  return secret;
}

absl::Status BadEndpoint(const std::string& endpoint) {
  return InvalidField("member.endpoint",
                      absl::StrCat("\"", endpoint,
                                   "\" is not where a runner can listen; it "
                                   "must be HOST:PORT, [IPV6]:PORT or "
                                   "unix:/PATH of at most 107 bytes"));
}

}  // namespace

absl::Status StaleFence(const std::string& key, uint64_t fence) {
  return WithReason(
      absl::AbortedError(absl::StrCat("attempt ", fence, " of task ", key,
                                      " is not the current one; end it")),
      "STALE_FENCE");
}

absl::Status CheckGangMember(const GangMember& member) {
  const std::string& endpoint = member.endpoint;
  const auto printable = [](char c) { return c > ' ' && c < '\x7f'; };
  if (!std::all_of(endpoint.begin(), endpoint.end(), printable)) {
    return BadEndpoint(endpoint);
  }
  if (absl::StartsWith(endpoint, "unix:")) {
    const std::string path = endpoint.substr(5);
    if (path.size() < 2 || path.size() > kLongestUnixPath ||
        path.front() != '/') {
      return BadEndpoint(endpoint);
    }
  } else {
    const size_t colon = endpoint.rfind(':');
    int port = 0;
    if (colon == std::string::npos || colon == 0 || colon > kLongestHost ||
        !absl::SimpleAtoi(endpoint.substr(colon + 1), &port) || port < 1 ||
        port > 65535) {
      return BadEndpoint(endpoint);
    }
    const std::string host = endpoint.substr(0, colon);
    const bool bracketed = host.front() == '[' && host.back() == ']';
    if (bracketed ? host.size() < 4 : absl::StrContains(host, ':')) {
      return BadEndpoint(endpoint);
    }
  }
  if (member.threads < 1 || member.threads > kMostThreads) {
    return InvalidField("member.threads", "must be between 1 and 4096");
  }
  if (member.device.size() > kLongestDevice) {
    return InvalidField("member.device", "must have at most 256 bytes");
  }
  if (member.device_id.size() > kLongestDeviceId) {
    return InvalidField("member.device_id", "must have at most 1024 bytes");
  }
  return absl::OkStatus();
}

bool GangTable::Gang::IsComplete() const {
  return std::all_of(seats.begin(), seats.end(),
                     [](const Seat& seat) { return seat.member.has_value(); });
}

GangRoster GangTable::Gang::Roster() const {
  GangRoster roster{.complete = true, .secret = secret};
  for (const Seat& seat : seats) roster.members.push_back(*seat.member);
  return roster;
}

absl::Status GangTable::Join(const std::string& key, uint64_t fence, int ranks,
                             GangMember member, Done* done, Answers* answers) {
  auto [it, inserted] = gangs_.try_emplace({key, fence});
  Gang& gang = it->second;
  if (inserted) {
    gang.secret = NewSecret();
    gang.seats.resize(static_cast<size_t>(ranks));
  }
  Seat& own = gang.seats.at(static_cast<size_t>(member.rank));
  if (own.member.has_value() && own.member->endpoint != member.endpoint &&
      gang.IsComplete()) {
    return WithReason(absl::AbortedError(absl::StrCat(
                          "rank ", member.rank, " moved from ",
                          own.member->endpoint, " to ", member.endpoint,
                          " after the other ranks were told; the gang "
                          "starts again")),
                      "GANG_CHANGED");
  }
  for (const Seat& other : gang.seats) {
    if (!other.member.has_value() || other.member->rank == member.rank ||
        member.device.empty() || other.member->device != member.device) {
      continue;
    }
    const auto [low, high] = std::minmax(other.member->rank, member.rank);
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "ranks ", low, " and ", high,
            " of the gang are two ranks on one "
            "device (",
            member.device,
            "), which would wait for each other "
            "for ever: give every worker as many slots as it has devices, or "
            "ask for fewer resources.ranks")),
        "TWO_RANKS_ON_ONE_DEVICE", "resources.ranks");
  }
  if (own.held != nullptr) {
    answers->push_back([older = std::move(own.held)]() mutable {
      std::move(older)(GangRoster());
    });
  }
  own.member = std::move(member);
  own.held = std::move(*done);
  own.held_until = clock_->Steady() + kHold;
  if (!gang.IsComplete()) return absl::OkStatus();
  for (Seat& seat : gang.seats) {
    if (seat.held == nullptr) continue;
    answers->push_back(
        [call = std::move(seat.held), roster = gang.Roster()]() mutable {
          std::move(call)(std::move(roster));
        });
    seat.held = nullptr;
  }
  return absl::OkStatus();
}

void GangTable::Expire(Answers* answers) {
  const absl::Duration now = clock_->Steady();
  for (auto& [name, gang] : gangs_) {
    for (Seat& seat : gang.seats) {
      if (seat.held == nullptr || now < seat.held_until) continue;
      answers->push_back([call = std::move(seat.held)]() mutable {
        std::move(call)(GangRoster());
      });
      seat.held = nullptr;
    }
  }
}

void GangTable::Prune(
    const std::function<bool(const std::string& key, uint64_t fence)>& current,
    Answers* answers) {
  for (auto it = gangs_.begin(); it != gangs_.end();) {
    const auto& [key, fence] = it->first;
    if (current(key, fence)) {
      ++it;
      continue;
    }
    for (Seat& seat : it->second.seats) {
      if (seat.held == nullptr) continue;
      answers->push_back([call = std::move(seat.held),
                          status = StaleFence(key, fence)]() mutable {
        std::move(call)(std::move(status));
      });
    }
    it = gangs_.erase(it);
  }
}

void GangTable::Refuse(const absl::Status& status, Answers* answers) {
  for (auto& [name, gang] : gangs_) {
    for (Seat& seat : gang.seats) {
      if (seat.held == nullptr) continue;
      answers->push_back([call = std::move(seat.held), status]() mutable {
        std::move(call)(std::move(status));
      });
      seat.held = nullptr;
    }
  }
}

std::vector<std::string> GangTable::Endpoints(const std::string& key,
                                              uint64_t fence) const {
  std::vector<std::string> endpoints;
  const auto it = gangs_.find({key, fence});
  if (it == gangs_.end()) return endpoints;
  for (const Seat& seat : it->second.seats) {
    endpoints.push_back(seat.member.has_value() ? seat.member->endpoint : "");
  }
  return endpoints;
}

}  // namespace dasm
