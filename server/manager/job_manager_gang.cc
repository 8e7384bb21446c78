// The part of JobManager that lets the ranks of a gang find each other.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/manager/job_manager.h"

namespace dasm {

void JobManager::JoinGang(const std::string& worker, const std::string& key,
                          uint64_t fence, GangMember member,
                          GangTable::Done done) {
  After after;
  {
    absl::MutexLock lock(&mutex_);
    const auto join =
        [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) -> absl::Status {
      DASM_RETURN_IF_ERROR(CheckReady());
      DASM_ASSIGN_OR_RETURN(LiveAction * action, CheckFence(key, fence));
      const std::vector<std::string>& workers = action->record.workers;
      const int ranks = static_cast<int>(workers.size());
      if (member.rank < 0 || member.rank >= ranks) {
        return InvalidField(
            "member.rank",
            absl::StrCat(member.rank, " is outside the gang of ", ranks,
                         " ranks of attempt ", fence, " of task ", key));
      }
      const std::string& placed = workers[static_cast<size_t>(member.rank)];
      if (placed != worker) {
        return InvalidField(
            "member.rank", absl::StrCat(member.rank, " runs on worker ", placed,
                                        ", not on ", worker));
      }
      DASM_RETURN_IF_ERROR(CheckGangMember(member));
      const int rank = member.rank;
      const absl::Status joined =
          gangs_.Join(key, fence, ranks, std::move(member), &done, &after);
      if (joined.ok()) return absl::OkStatus();
      DASM_LOG(WARNING, "gang cannot meet")
          .Kv("task", key)
          .Kv("fence", fence)
          .Kv("rank", rank)
          .Kv("worker", worker)
          .Kv("reason", ReasonOf(joined));
      Changes changes;
      changes.require_fence = {key, fence};
      table_.EndAttempt(
          action,
          {.failure = absl::IsAborted(joined) ? FailureClass::kCollective
                                              : FailureClass::kSpec,
           .message = std::string(joined.message())},
          &changes);
      Enqueue(std::move(changes), nullptr);
      // The others hear of it from Prune.
      TendGangs(&after);
      return WithReason(absl::AbortedError(joined.message()), "STALE_FENCE");
    };
    if (absl::Status status = join(); !status.ok()) {
      after.push_back(
          [done = std::move(done), status = std::move(status)]() mutable {
            std::move(done)(std::move(status));
          });
    }
  }
  for (auto& call : after) std::move(call)();
}

void JobManager::TendGangs(After* after) {
  gangs_.Expire(after);
  gangs_.Prune(
      [this](const std::string& key, uint64_t fence)
          ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
            const LiveAction* action = table_.FindAction(key);
            return action != nullptr && action->record.fence == fence &&
                   action->record.state == ActionState::kRunning;
          },
      after);
}

absl::Status JobManager::CheckRankZero(const LiveAction& action,
                                       const std::string& worker) {
  const std::string& owner = action.record.workers.front();
  if (owner == worker) return absl::OkStatus();
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "only worker ", owner, ", which runs rank 0 of task ",
          action.record.key, ", commits its results and checkpoints; worker ",
          worker, " does not")),
      "NOT_RANK_ZERO");
}

}  // namespace dasm
