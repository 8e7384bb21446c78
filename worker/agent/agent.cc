#include "worker/agent/agent.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/rpc/protocol.h"

namespace dasm {
namespace {

constexpr absl::Duration kFirstSyncPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestSyncPause = absl::Seconds(2);
constexpr absl::Duration kSyncClockCheck = absl::Milliseconds(50);
// Beyond the third of a lease that the coordinator may hold a call.
constexpr absl::Duration kCallMargin = absl::Seconds(5);
constexpr absl::Duration kDefaultLease = absl::Seconds(30);
// An answer that was not held and asks for no pause is not repeated faster.
constexpr absl::Duration kShortestRound = absl::Milliseconds(20);

bool IsRefusal(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) ||
         absl::IsInvalidArgument(status) || absl::IsUnimplemented(status);
}

std::vector<std::string> DeviceNames(const DeviceInventory& inventory) {
  std::vector<std::string> names;
  for (const Device& device : inventory.devices) names.push_back(device.name);
  return names;
}

}  // namespace

Agent::Agent(Options options, const Attempt::Seams& seams,
             std::function<void()> on_registered)
    : options_(std::move(options)),
      seams_(seams),
      on_registered_(std::move(on_registered)),
      slots_(options_.inventory.slots, DeviceNames(options_.inventory)) {}

Agent::~Agent() {
  Abandon();
  std::map<TaskRank, std::unique_ptr<Attempt>> attempts;
  {
    absl::MutexLock lock(&mutex_);
    attempts = std::move(attempts_);
  }
}

void Agent::Wake() {
  absl::MutexLock lock(&mutex_);
  dirty_ = true;
  if (call_ != nullptr) call_->Cancel();
  changed_.SignalAll();
}

void Agent::Drain() {
  {
    absl::MutexLock lock(&mutex_);
    if (draining_) return;
    draining_ = true;
    drain_until_ = seams_.clock->Steady() + options_.drain_deadline;
  }
  Wake();
}

void Agent::Abandon() {
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    abandoned_ = true;
  }
  Wake();
}

bool Agent::connected() const {
  absl::MutexLock lock(&mutex_);
  return connected_;
}

// Makes attempts and `desired_` agree; false once drained.
bool Agent::StepAttempts() {
  std::vector<std::unique_ptr<Attempt>> ended;
  absl::MutexLock lock(&mutex_);
  for (auto it = attempts_.begin(); it != attempts_.end();) {
    if (!it->second->ended()) {
      ++it;
      continue;
    }
    done_[it->first] = it->second->fence();
    slots_.Free(it->first.first, it->second->fence(), it->first.second);
    ended.push_back(std::move(it->second));
    it = attempts_.erase(it);
  }
  const bool late = draining_ && seams_.clock->Steady() >= drain_until_;
  for (const auto& [rank, attempt] : attempts_) {
    if (abandoned_ || late) {
      attempt->Abandon();
    } else if (draining_) {
      attempt->Release();
    }
  }
  if (!registered_) return !draining_;

  std::map<TaskRank, const worker::v1::Assignment*> wanted;
  for (const worker::v1::Assignment& assignment : desired_.assignments()) {
    wanted[{assignment.task(), assignment.rank()}] = &assignment;
  }
  for (const auto& [rank, attempt] : attempts_) {
    const auto found = wanted.find(rank);
    if (found == wanted.end() || found->second->fence() != attempt->fence()) {
      attempt->Cancel();
    }
  }
  if (draining_) return !attempts_.empty();
  for (const worker::v1::RunningAttempt& release : desired_.release()) {
    const auto found = attempts_.find({release.task(), release.rank()});
    if (found != attempts_.end() && found->second->fence() == release.fence()) {
      found->second->Release();
    }
  }
  for (const auto& [rank, assignment] : wanted) {
    // The coordinator never gives more than there are slots, but an ending
    // attempt holds its slot until its runner is gone.
    if (slots_.free() == 0) break;
    if (attempts_.contains(rank)) continue;
    const auto done = done_.find(rank);
    if (done != done_.end() && assignment->fence() <= done->second) continue;
    Attempt::Options attempt = options_.attempt;
    attempt.device = *slots_.Take(rank.first, assignment->fence(), rank.second);
    attempts_[rank] = std::make_unique<Attempt>(*assignment, attempt, seams_,
                                                [this] { Wake(); });
  }
  return true;
}

worker::v1::SynchronizeRequest Agent::MakeRequest() const {
  worker::v1::SynchronizeRequest request;
  request.set_protocol(kProtocol);
  request.set_worker(options_.attempt.worker);
  request.set_incarnation(options_.incarnation);
  request.set_version(options_.version);
  request.set_slots(options_.inventory.slots);
  request.set_threads(options_.inventory.threads);
  request.set_numerics_class(options_.inventory.numerics_class);
  request.set_memory_bytes(options_.inventory.memory_bytes);
  request.set_cache_bytes(seams_.cache->bytes());
  request.set_draining(draining_);
  for (const auto& [rank, attempt] : attempts_) {
    worker::v1::RunningAttempt* running = request.add_running();
    running->set_task(rank.first);
    running->set_fence(attempt->fence());
    running->set_rank(rank.second);
  }
  request.set_applied_generation(desired_.generation());
  return request;
}

void Agent::RemoveForeignFolders() {
  std::set<std::string> ours;
  for (const worker::v1::Assignment& assignment : desired_.assignments()) {
    ours.insert(AttemptDirectoryName(assignment.task(), assignment.fence(),
                                     assignment.rank()));
  }
  std::error_code error;
  std::vector<std::filesystem::path> foreign;
  for (const auto& entry : std::filesystem::directory_iterator(
           options_.attempt.tasks_directory, error)) {
    if (!ours.contains(entry.path().filename().string())) {
      foreign.push_back(entry.path());
    }
  }
  for (const auto& path : foreign) std::filesystem::remove_all(path, error);
}

void Agent::Apply(worker::v1::SynchronizeResponse response) {
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    desired_ = std::move(response);
    std::set<TaskRank> named;
    for (const worker::v1::Assignment& assignment : desired_.assignments()) {
      named.insert({assignment.task(), assignment.rank()});
    }
    std::erase_if(
        done_, [&](const auto& done) { return !named.contains(done.first); });
    first = !registered_;
    if (first) RemoveForeignFolders();
    registered_ = true;
    connected_ = true;
  }
  if (first) on_registered_();
}

void Agent::Pause(absl::Duration longest) {
  absl::MutexLock lock(&mutex_);
  const absl::Duration until = seams_.clock->Steady() + longest;
  while (!dirty_) {
    const absl::Duration left = until - seams_.clock->Steady();
    if (left <= absl::ZeroDuration()) return;
    changed_.WaitWithTimeout(&mutex_, std::min(left, kSyncClockCheck));
  }
}

// So that the coordinator knows at once and not after a lease.
void Agent::Farewell() {
  std::shared_ptr<CoordinatorLink::SynchronizeCall> call;
  {
    absl::MutexLock lock(&mutex_);
    if (!connected_ || abandoned_) return;
    worker::v1::SynchronizeRequest request = MakeRequest();
    // What has applied the newest generation is held.
    request.set_applied_generation(0);
    call = seams_.coordinator->Synchronize(request, absl::Seconds(2));
  }
  const absl::Status status = call->Wait().status();
  if (!status.ok()) {
    DASM_LOG(INFO, "left without an answer").Kv("error", status.message());
  }
}

absl::Status Agent::Run() {
  absl::Duration pause = kFirstSyncPause;
  absl::Duration lease = kDefaultLease;
  while (true) {
    {
      // Before the look at the attempts: what changes after it wakes us again.
      absl::MutexLock lock(&mutex_);
      dirty_ = false;
    }
    if (!StepAttempts()) {
      Farewell();
      return absl::OkStatus();
    }
    const absl::Duration started = seams_.clock->Steady();
    std::shared_ptr<CoordinatorLink::SynchronizeCall> call;
    {
      absl::MutexLock lock(&mutex_);
      if (dirty_) continue;
      call = seams_.coordinator->Synchronize(MakeRequest(),
                                             lease / 3 + kCallMargin);
      call_ = call;
    }
    absl::StatusOr<worker::v1::SynchronizeResponse> response = call->Wait();
    {
      absl::MutexLock lock(&mutex_);
      call_ = nullptr;
    }
    if (response.ok()) {
      pause = kFirstSyncPause;
      if (response->lease_seconds() > 0) {
        lease = absl::Seconds(response->lease_seconds());
      }
      const absl::Duration again =
          absl::Seconds(std::max(0.0, response->call_again_seconds()));
      const bool news = [&] {
        absl::MutexLock lock(&mutex_);
        return response->generation() != desired_.generation();
      }();
      Apply(*std::move(response));
      if (!StepAttempts()) continue;
      const absl::Duration took = seams_.clock->Steady() - started;
      Pause(
          std::max(again, news ? absl::ZeroDuration() : kShortestRound - took));
      continue;
    }
    {
      // Cancelled by Wake; anyone else's CANCELLED is a failed call.
      absl::MutexLock lock(&mutex_);
      if (absl::IsCancelled(response.status()) && dirty_) continue;
    }
    if (IsRefusal(response.status())) {
      Abandon();
      return response.status();
    }
    {
      absl::MutexLock lock(&mutex_);
      if (connected_) {
        DASM_LOG(WARNING, "cut off from the coordinator; runners go on")
            .Kv("error", response.status().message());
      }
      connected_ = false;
    }
    Pause(pause);
    pause = std::min(2 * pause, kLongestSyncPause);
  }
}

}  // namespace dasm
