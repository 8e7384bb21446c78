#include "worker/agent/gang_rendezvous.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"

namespace dasm {
namespace {

// The coordinator holds a JoinGang at most ten seconds.
constexpr absl::Duration kTimeout = absl::Seconds(15);
constexpr absl::Duration kPauseWhenHeld = absl::Milliseconds(200);
constexpr absl::Duration kPauseWhenLost = absl::Seconds(1);

}  // namespace

void GangRendezvous::Bring(const worker::v1::GangMember& member) {
  absl::MutexLock lock(&mutex_);
  member_ = member;
  member_->set_rank(options_.rank);
}

void GangRendezvous::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
  if (call_ != nullptr) call_->Cancel();
}

absl::Duration GangRendezvous::NextTry() const {
  absl::MutexLock lock(&mutex_);
  return member_ && !stopped_ ? next_try_ : absl::InfiniteDuration();
}

GangRendezvous::Outcome GangRendezvous::Try() {
  Outcome outcome;
  const absl::Duration started = clock_->Steady();
  worker::v1::JoinGangRequest request;
  request.set_worker(options_.worker);
  request.set_task(options_.task);
  request.set_fence(options_.fence);
  std::shared_ptr<CoordinatorLink::JoinGangCall> call;
  {
    absl::MutexLock lock(&mutex_);
    if (!member_ || stopped_) return outcome;
    if (until_ == absl::InfiniteDuration()) {
      until_ = started + options_.deadline;
    }
    *request.mutable_member() = *member_;
    call = coordinator_->JoinGang(request, kTimeout);
    call_ = call;
  }
  absl::StatusOr<worker::v1::JoinGangResponse> response = call->Wait();
  absl::MutexLock lock(&mutex_);
  call_ = nullptr;
  if (stopped_) return outcome;
  const absl::Duration now = clock_->Steady();
  if (response.ok() && response->complete()) {
    outcome.result = Result::kComplete;
    outcome.ready.set_secret(response->secret());
    outcome.ready.mutable_members()->Swap(response->mutable_members());
  } else if (absl::IsAborted(response.status())) {
    outcome.result = Result::kStale;
  } else if (now >= until_) {
    outcome.result = Result::kFailed;
    outcome.failure = WithFailureClass(
        absl::DeadlineExceededError(absl::StrCat(
            "its gang of ", options_.ranks, " was not complete after ",
            absl::FormatDuration(options_.deadline),
            "; look at the other ranks' workers")),
        FailureClass::kCollective);
  } else if (response.ok()) {
    next_try_ = started + kPauseWhenHeld;
  } else if (IsTransient(response.status())) {
    next_try_ = now + kPauseWhenLost;
  } else {
    outcome.result = Result::kFailed;
    outcome.failure = WithContext(response.status(), "joining the gang");
  }
  if (outcome.result != Result::kNotYet) member_.reset();
  return outcome;
}

}  // namespace dasm
