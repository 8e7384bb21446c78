// The part of LiveTable that follows attempts: placed, checkpointed, ended.
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"
#include "server/job/state.h"
#include "server/manager/live_table.h"
#include "server/manager/oom_policy.h"
#include "server/manager/retry_policy.h"

namespace dasm {
namespace {

constexpr int kKeptCheckpoints = 2;

}  // namespace

void LiveTable::Place(LiveAction* action, std::vector<std::string> workers,
                      Changes* changes) {
  ActionRecord& record = action->record;
  SetState(action, ActionState::kRunning, changes);
  ++record.fence;
  ++record.attempts;
  if (record.start_time == absl::InfinitePast()) {
    record.start_time = clock_->Now();
  }
  record.worker =
      absl::StrJoin(std::set<std::string>(workers.begin(), workers.end()), ",");
  record.workers = std::move(workers);
  record.regroup_until = absl::InfinitePast();
  action->placed = clock_->Now();
  action->handed_out = false;
  action->pending_reason.clear();
  action->progress = {};
  for (const std::string& worker : record.workers) {
    running_on_[worker].insert(record.key);
    changes->workers.insert(worker);
  }
  changes->placed[record.key] = record.fence;
  for (auto& [key, task] : LiveUsers(*action)) {
    Follow(FindJob(key.job), task, action, changes);
  }
}

void LiveTable::Succeed(LiveAction* action,
                        std::map<std::string, OutputRecord> outputs,
                        std::string summary_json, double seconds,
                        Changes* changes) {
  ActionRecord& record = action->record;
  SetState(action, ActionState::kSucceeded, changes);
  ClearPlacement(action, changes);
  record.outputs = std::move(outputs);
  record.summary_json = std::move(summary_json);
  record.seconds = seconds;
  record.end_time = clock_->Now();
  record.prune_time = absl::InfinitePast();
  record.checkpoints.clear();
  record.retries.clear();
  record.failure = {};
  changes->ended.emplace_back(record.kind, "SUCCEEDED");
  const auto users = LiveUsers(*action);
  for (auto& [key, task] : users) {
    CompleteTask(FindJob(key.job), task, /*cached=*/false, changes);
  }
  for (auto& [key, task] : users) FinishIfDone(FindJob(key.job), changes);
}

void LiveTable::NotePeak(LiveAction* action, uint64_t fence, int rank,
                         const PeakMemoryRecord& peak, Changes* changes) {
  ActionRecord& record = action->record;
  if (fence < record.peaks_fence || fence > record.fence || rank < 0 ||
      rank >= record.ranks) {
    return;
  }
  if (fence > record.peaks_fence) record.peaks.clear();
  record.peaks_fence = fence;
  if (record.peaks.size() <= static_cast<size_t>(rank)) {
    record.peaks.resize(rank + 1);
  }
  record.peaks[rank] = peak;
  changes->actions.insert(record.key);
}

void LiveTable::EndAttempt(LiveAction* action, AttemptEnd end,
                           Changes* changes) {
  ActionRecord& record = action->record;
  const std::string name(FailureClassName(end.failure));
  changes->ended.emplace_back(record.kind, name);
  ClearPlacement(action, changes);
  if (!IsWanted(*action)) {
    // Released: nobody minds how it ended.
    SetState(action, ActionState::kPending, changes);
    return;
  }
  const RetryDecision decision = DecideRetry(end.failure, record.retries[name]);
  if (!decision.retry) {
    int fits = 0;
    if (end.failure == FailureClass::kOomDevice ||
        end.failure == FailureClass::kOomHost) {
      fits = MicroBatchThatFits(record, end.message, end.slot_memory_bytes);
      if (fits > 0) {
        absl::StrAppend(&end.message, "; micro-batches of ", fits,
                        " images fit: set ", MicroBatchField(record.kind),
                        " to ", fits, ", or resources.on_oom to replan");
      }
    }
    SetState(action, ActionState::kFailed, changes);
    action->repair = false;
    repairs_.erase(record.key);
    record.failure = {name, end.message, ""};
    record.end_time = clock_->Now();
    for (auto& [key, task] : LiveUsers(*action)) {
      LiveJob* job = FindJob(key.job);
      if (IsTerminal(job->record.state)) continue;
      if (fits > 0 && task->replan_on_oom) {
        Replan(job, task, fits, changes);
      } else {
        Follow(job, task, action, changes);
      }
    }
    return;
  }
  if (decision.counts) {
    ++record.retries[name];
    changes->retried.push_back(name);
  }
  // Until it succeeds: why it waits.
  record.failure = {name, end.message, ""};
  record.not_before = decision.back_off > absl::ZeroDuration()
                          ? clock_->Now() + decision.back_off
                          : absl::InfinitePast();
  record.avoid_worker = decision.elsewhere ? end.worker : "";
  record.regroup_until =
      clock_->Now() + absl::Seconds(record.gang.regroup_wait);
  SetState(action, ActionState::kPending, changes);
  for (auto& [key, task] : LiveUsers(*action)) {
    LiveJob* job = FindJob(key.job);
    Follow(job, task, action, changes);
    Event(job, "task_retried", task, absl::StrCat(name, ": ", end.message),
          changes);
  }
}

void LiveTable::AddCheckpoint(LiveAction* action, CheckpointRecord checkpoint,
                              Changes* changes) {
  ActionRecord& record = action->record;
  const int64_t step = checkpoint.step;
  record.checkpoints.insert(record.checkpoints.begin(), std::move(checkpoint));
  if (record.checkpoints.size() > kKeptCheckpoints) {
    record.checkpoints.resize(kKeptCheckpoints);
  }
  // Progress was made: every budget is whole again.
  record.retries.clear();
  changes->actions.insert(record.key);
  for (auto& [key, task] : LiveUsers(*action)) {
    Event(FindJob(key.job), "checkpoint", task, absl::StrCat("step ", step),
          changes);
  }
}

void LiveTable::DropCheckpoint(LiveAction* action, const std::string& digest,
                               Changes* changes) {
  const auto dropped = std::erase_if(action->record.checkpoints,
                                     [&](const CheckpointRecord& checkpoint) {
                                       return checkpoint.blob.digest == digest;
                                     });
  if (dropped > 0) changes->actions.insert(action->record.key);
}

void LiveTable::Repair(LiveAction* action, Changes* changes) {
  action->repair = true;
  repairs_.insert(action->record.key);
  // The outputs stay in the record: whoever finds another of them missing
  // still finds out which action makes it.
  if (action->record.state == ActionState::kSucceeded) {
    SetState(action, ActionState::kPending, changes);
  }
  Reconsider(action->record.key, changes);
}

void LiveTable::Prune(LiveAction* action, Changes* changes) {
  DASM_CHECK(action->record.state == ActionState::kSucceeded);
  DASM_CHECK(action->users.empty());
  // The outputs stay in the record, as for Repair.
  action->record.prune_time = clock_->Now();
  maybe_unused_.insert(action->record.key);
  changes->actions.insert(action->record.key);
}

void LiveTable::Reconsider(const std::string& action_key, Changes* changes) {
  const LiveAction* action = FindAction(action_key);
  if (action == nullptr) return;
  maybe_unused_.insert(action_key);
  for (const std::string& worker : action->record.workers) {
    changes->workers.insert(worker);
  }
}

void LiveTable::ClearPlacement(LiveAction* action, Changes* changes) {
  ActionRecord& record = action->record;
  changes->slot_seconds[record.kind] +=
      absl::ToDoubleSeconds(clock_->Now() - action->placed) *
      static_cast<double>(record.workers.size());
  for (const std::string& worker : record.workers) {
    changes->workers.insert(worker);
    const auto it = running_on_.find(worker);
    if (it == running_on_.end()) continue;
    it->second.erase(record.key);
    if (it->second.empty()) running_on_.erase(it);
  }
  record.workers.clear();
  record.worker.clear();
  record.regroup_until = absl::InfinitePast();
  action->handed_out = false;
  action->progress = {};
  changes->actions.insert(record.key);
}

}  // namespace dasm
