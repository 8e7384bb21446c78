// The half of JobManager that talks with workers: leases, orders, results.
#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/artifact/digest.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/job/state.h"
#include "server/manager/commit_waiter.h"
#include "server/manager/job_manager.h"

namespace dasm {
namespace {

absl::Status MissingBlobs(const std::vector<std::string>& missing) {
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat("upload these blobs first: ",
                                                 absl::StrJoin(missing, ", "))),
      "MISSING_BLOBS");
}

absl::Status CheckReport(const WorkerReport& report) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  if (report.worker.empty() || report.worker.size() > 128 ||
      !std::all_of(report.worker.begin(), report.worker.end(), allowed)) {
    return InvalidField("worker",
                        "must have 1 to 128 letters, digits, '-', '_' or '.'");
  }
  if (report.incarnation.empty()) {
    return InvalidField("incarnation", "must not be empty");
  }
  if (report.slots < 0 || report.slots > 4096) {
    return InvalidField("slots", "must be between 0 and 4096");
  }
  if (report.numerics_class.empty()) {
    return InvalidField("numerics_class", "must not be empty");
  }
  return absl::OkStatus();
}

}  // namespace

void JobManager::EndAttemptsOn(const std::string& worker,
                               const std::string& message) {
  Changes changes;
  for (const std::string& key : table_.RunningOn(worker)) {
    table_.EndAttempt(table_.FindAction(key),
                      {.failure = FailureClass::kNodeLost, .message = message},
                      &changes);
  }
  if (!changes.empty()) Enqueue(std::move(changes), nullptr);
  kicked_ = true;
}

void JobManager::ExpireLeases() {
  for (const std::string& worker : workers_.leases().Expire()) {
    metrics_.LeaseExpired();
    DASM_LOG(WARNING, "lease expired").Kv("worker", worker);
    EndAttemptsOn(worker,
                  absl::StrCat("worker ", worker, " was not heard of for ",
                               absl::FormatDuration(options_.lease)));
  }
}

void JobManager::News(const std::string& id, After* after) {
  LiveWorker* worker = workers_.Find(id);
  if (worker == nullptr) return;
  ++worker->generation;
  if (!worker->held.has_value()) return;
  after->push_back(
      [done = *std::move(worker->held), orders = OrdersFor(id)]() mutable {
        std::move(done)(std::move(orders));
      });
  worker->held.reset();
}

bool JobManager::IsLeaving(const std::string& id) {
  if (workers_.drained().contains(id)) return true;
  const LiveWorker* worker = workers_.Find(id);
  return worker != nullptr && worker->report.draining;
}

void JobManager::NewsOfLeaving(const std::string& id, After* after) {
  std::set<std::string> told = {id};
  for (const std::string& key : table_.RunningOn(id)) {
    const std::vector<std::string>& workers =
        table_.FindAction(key)->record.workers;
    told.insert(workers.begin(), workers.end());
  }
  for (const std::string& worker : told) News(worker, after);
}

Orders JobManager::OrdersFor(const std::string& id) {
  LiveWorker* worker = workers_.FindOrAdd(id);
  Orders orders;
  orders.generation = worker->generation;
  orders.draining = workers_.drained().contains(id);
  orders.lease = options_.lease;
  for (const std::string& key : table_.RunningOn(id)) {
    const LiveAction* action = table_.FindAction(key);
    if (!action->handed_out || !table_.IsWanted(*action)) continue;
    const std::vector<std::string>& workers = action->record.workers;
    // Rank 0 writes the checkpoint that all ranks of a gang stop after, so one
    // that leaves takes all with it.
    const bool released = std::any_of(
        workers.begin(), workers.end(),
        [this](const std::string& worker) ABSL_EXCLUSIVE_LOCKS_REQUIRED(
            mutex_) { return IsLeaving(worker); });
    for (size_t rank = 0; rank < workers.size(); ++rank) {
      if (workers[rank] != id) continue;
      orders.assignments.push_back({action->record, static_cast<int>(rank)});
      if (released) {
        orders.release.push_back(
            {key, action->record.fence, static_cast<int>(rank)});
      }
    }
  }
  // A worker that got this before and did not apply it is not helped by being
  // told again at once.
  if (worker->sent_generation == worker->generation &&
      worker->report.applied_generation != worker->generation) {
    orders.call_again = absl::Seconds(1);
  }
  worker->sent_generation = worker->generation;
  return orders;
}

void JobManager::Synchronize(WorkerReport report, SynchronizeDone done) {
  After after;
  {
    absl::MutexLock lock(&mutex_);
    absl::Status status = CheckReport(report);
    if (status.ok()) status = CheckReady();
    if (!status.ok()) {
      after.push_back([done = std::move(done), status]() mutable {
        std::move(done)(status);
      });
    } else {
      const std::string id = report.worker;
      // A lease that ran out ends before this call renews it.
      ExpireLeases();
      const auto renewal = workers_.leases().Renew(id, report.incarnation);
      LiveWorker* worker = workers_.FindOrAdd(id);
      if (renewal == LeaseTable::Renewal::kReplaced) {
        EndAttemptsOn(id, absl::StrCat("worker ", id, " was restarted"));
      }
      if (renewal != LeaseTable::Renewal::kRenewed || !worker->known) {
        DASM_LOG(INFO, "worker connected")
            .Kv("worker", id)
            .Kv("slots", report.slots)
            .Kv("class", report.numerics_class)
            .Kv("version", report.version);
      }
      if (worker->held.has_value()) {
        // The worker has given up on its older call.
        after.push_back([older = *std::move(worker->held),
                         orders = OrdersFor(id)]() mutable {
          std::move(older)(std::move(orders));
        });
        worker->held.reset();
      }
      const bool leaves = report.draining && !worker->report.draining;
      worker->known = true;
      worker->last_seen = parts_.clock->Now();
      worker->report = std::move(report);
      if (leaves) NewsOfLeaving(id, &after);
      const bool applied =
          worker->report.applied_generation == worker->generation;
      if (applied) {
        // Released attempts that the worker has ended give up their slots.
        std::set<std::pair<std::string, uint64_t>> running;
        for (const AttemptName& attempt : worker->report.running) {
          running.insert({attempt.key, attempt.fence});
        }
        Changes changes;
        for (const std::string& key : table_.RunningOn(id)) {
          LiveAction* action = table_.FindAction(key);
          if (table_.IsWanted(*action) ||
              running.contains({key, action->record.fence})) {
            continue;
          }
          table_.EndAttempt(action,
                            {.failure = FailureClass::kPreempted,
                             .message = "no job wants it any more"},
                            &changes);
        }
        if (!changes.empty()) Enqueue(std::move(changes), nullptr);
      }
      if (applied) {
        worker->held = std::move(done);
        worker->held_until =
            parts_.clock->Steady() +
            std::min(options_.longest_hold, options_.lease / 3);
      } else {
        after.push_back(
            [done = std::move(done), orders = OrdersFor(id)]() mutable {
              std::move(done)(std::move(orders));
            });
      }
      kicked_ = true;
    }
  }
  for (auto& call : after) std::move(call)();
}

absl::StatusOr<LiveAction*> JobManager::CheckFence(const std::string& key,
                                                   uint64_t fence) {
  LiveAction* action = table_.FindAction(key);
  if (action == nullptr || action->record.fence != fence ||
      action->record.state != ActionState::kRunning) {
    metrics_.FenceRejected();
    return StaleFence(key, fence);
  }
  return action;
}

absl::Status JobManager::CommitResult(
    const std::string& worker, const std::string& key, uint64_t fence,
    std::map<std::string, OutputRecord> outputs,
    const std::string& summary_json, double seconds) {
  std::vector<std::string> digests;
  for (const auto& [name, output] : outputs) {
    if (!IsDigest(output.blob.digest)) {
      return InvalidField(absl::StrCat("outputs.", name, ".digest"),
                          "must be sha256: and 64 lower-case hex digits");
    }
    digests.push_back(output.blob.digest);
  }
  const std::vector<std::string> missing = parts_.blobs->FindMissing(digests);
  if (!missing.empty()) return MissingBlobs(missing);
  const auto same = [&](const ActionRecord& record) {
    if (record.state != ActionState::kSucceeded || record.fence != fence ||
        record.outputs.size() != outputs.size()) {
      return false;
    }
    for (const auto& [name, output] : outputs) {
      const auto it = record.outputs.find(name);
      if (it == record.outputs.end() ||
          it->second.blob.digest != output.blob.digest) {
        return false;
      }
    }
    return true;
  };
  CommitWaiter waiter;
  std::vector<std::string> checkpoints;
  bool in_memory = false;
  {
    absl::MutexLock lock(&mutex_);
    DASM_RETURN_IF_ERROR(CheckReady());
    LiveAction* action = table_.FindAction(key);
    in_memory = action != nullptr;
    if (in_memory && same(action->record)) {
      // Sent twice: answered when the first one is durable.
      Enqueue({}, waiter.Callback());
    } else if (in_memory) {
      DASM_ASSIGN_OR_RETURN(action, CheckFence(key, fence));
      DASM_RETURN_IF_ERROR(CheckRankZero(*action, worker));
      for (const CheckpointRecord& checkpoint : action->record.checkpoints) {
        checkpoints.push_back(checkpoint.blob.digest);
      }
      if (LiveWorker* live = workers_.Find(worker); live != nullptr) {
        for (const std::string& digest : digests) live->Remember(digest);
      }
      Changes changes;
      changes.require_fence = {key, fence};
      table_.Succeed(action, std::move(outputs), summary_json, seconds,
                     &changes);
      Enqueue(std::move(changes), waiter.Callback());
    }
  }
  if (!in_memory) {
    const absl::StatusOr<ActionRecord> stored = parts_.store->GetAction(key);
    if (stored.ok() && same(*stored)) return absl::OkStatus();
    if (!stored.ok() && !absl::IsNotFound(stored.status())) {
      return stored.status();
    }
    metrics_.FenceRejected();
    return StaleFence(key, fence);
  }
  DASM_RETURN_IF_ERROR(waiter.Wait());
  for (const std::string& digest : checkpoints) RemoveUnreferenced(digest);
  return absl::OkStatus();
}

absl::Status JobManager::ReportFailure(const std::string& worker,
                                       const std::string& key, uint64_t fence,
                                       FailureClass failure,
                                       const std::string& message) {
  CommitWaiter waiter;
  {
    absl::MutexLock lock(&mutex_);
    DASM_RETURN_IF_ERROR(CheckReady());
    DASM_ASSIGN_OR_RETURN(LiveAction * action, CheckFence(key, fence));
    DASM_LOG(INFO, "attempt failed")
        .Kv("task", key)
        .Kv("fence", fence)
        .Kv("worker", worker)
        .Kv("class", std::string(FailureClassName(failure)))
        .Kv("message", message);
    Changes changes;
    changes.require_fence = {key, fence};
    LiveTable::AttemptEnd end = {
        .failure = failure, .message = message, .worker = worker};
    if (const LiveWorker* live = workers_.Find(worker);
        live != nullptr && failure == FailureClass::kOomHost) {
      end.slot_memory_bytes =
          live->report.memory_bytes / std::max(1, live->report.slots);
    }
    table_.EndAttempt(action, std::move(end), &changes);
    Enqueue(std::move(changes), waiter.Callback());
  }
  return waiter.Wait();
}

absl::Status JobManager::CommitCheckpoint(const std::string& worker,
                                          const std::string& key,
                                          uint64_t fence,
                                          CheckpointRecord checkpoint) {
  if (!IsDigest(checkpoint.blob.digest)) {
    return InvalidField("digest",
                        "must be sha256: and 64 lower-case hex digits");
  }
  const auto missing = parts_.blobs->FindMissing({checkpoint.blob.digest});
  if (!missing.empty()) return MissingBlobs(missing);
  CommitWaiter waiter;
  std::vector<std::string> before;
  {
    absl::MutexLock lock(&mutex_);
    DASM_RETURN_IF_ERROR(CheckReady());
    DASM_ASSIGN_OR_RETURN(LiveAction * action, CheckFence(key, fence));
    DASM_RETURN_IF_ERROR(CheckRankZero(*action, worker));
    Changes changes;
    const auto& kept = action->record.checkpoints;
    if (kept.empty() || kept.front().step < checkpoint.step) {
      for (const CheckpointRecord& old : kept) {
        before.push_back(old.blob.digest);
      }
      if (LiveWorker* live = workers_.Find(worker); live != nullptr) {
        live->Remember(checkpoint.blob.digest);
      }
      checkpoint.time = parts_.clock->Now();
      changes.require_fence = {key, fence};
      table_.AddCheckpoint(action, std::move(checkpoint), &changes);
    }
    Enqueue(std::move(changes), waiter.Callback());
  }
  DASM_RETURN_IF_ERROR(waiter.Wait());
  if (before.size() > 1) RemoveUnreferenced(before.back());
  return absl::OkStatus();
}

void JobManager::RemoveUnreferenced(const std::string& digest) {
  const auto users = parts_.store->FindActionsByOutput(digest);
  if (!users.ok() || !users->empty()) return;
  const absl::Status removed = parts_.blobs->Remove(digest);
  if (!removed.ok()) {
    DASM_LOG(WARNING, "checkpoint was not removed")
        .Kv("digest", digest)
        .Kv("error", std::string(removed.message()));
  }
}

absl::Status JobManager::ReportTelemetry(std::vector<TelemetryReport> reports) {
  std::vector<MetricPointRecord> points;
  std::vector<LogLineRecord> lines;
  struct Notice {
    std::string job;
    JobNotice notice;
  };
  std::vector<Notice> notices;
  for (TelemetryReport& report : reports) {
    std::optional<uint64_t> newest;
    {
      absl::MutexLock lock(&mutex_);
      LiveAction* action = table_.FindAction(report.action_key);
      if (action != nullptr) {
        newest = action->record.fence;
        if (report.peak.has_value()) {
          Changes changes;
          table_.NotePeak(action, report.fence, report.peak->rank,
                          report.peak->memory, &changes);
          if (!changes.empty()) Enqueue(std::move(changes), nullptr);
        }
        const bool current = action->handed_out && *newest == report.fence;
        if (report.has_progress && current) {
          action->progress = report.progress;
          action->progress.time = parts_.clock->Now();
        }
        for (const TaskKey& user : action->users) {
          if (report.has_progress && current) {
            notices.push_back(
                {user.job,
                 {JobNotice::Kind::kProgress, user.task, action->progress}});
          }
          if (!report.lines.empty()) {
            notices.push_back({user.job, {JobNotice::Kind::kLines}});
          }
        }
      }
    }
    if (!newest.has_value()) {
      // What a finished attempt still had to say.
      const auto stored = parts_.store->GetAction(report.action_key);
      if (stored.ok()) newest = stored->fence;
    }
    if (!newest.has_value() || report.fence == 0 || report.fence > *newest) {
      continue;
    }
    for (MetricPointRecord& point : report.points) {
      if (!std::isfinite(point.value)) continue;
      point.action_key = report.action_key;
      points.push_back(std::move(point));
    }
    for (LogLineRecord& line : report.lines) {
      line.action_key = report.action_key;
      line.fence = report.fence;
      lines.push_back(std::move(line));
    }
  }
  if (!points.empty() || !lines.empty()) {
    DASM_RETURN_IF_ERROR(parts_.telemetry->Append(points, lines));
  }
  for (const Notice& notice : notices) hub_.Notify(notice.job, notice.notice);
  return absl::OkStatus();
}

WorkerView JobManager::ViewOf(const LiveWorker& worker) {
  WorkerView view;
  view.id = worker.report.worker;
  view.state = workers_.StateOf(view.id);
  view.report = worker.report;
  view.busy_slots = BusySlots(worker);
  view.last_seen = worker.last_seen;
  for (const std::string& key : table_.RunningOn(view.id)) {
    const LiveAction* action = table_.FindAction(key);
    std::string name = key;
    for (const TaskKey& user : action->users) {
      const LiveJob* job = table_.FindJob(user.job);
      if (job == nullptr || IsTerminal(job->record.state)) continue;
      name = absl::StrCat(JobName{job->record.project, user.job}.ToString(),
                          "/tasks/", user.task);
      break;
    }
    view.tasks.push_back(std::move(name));
  }
  return view;
}

std::vector<WorkerView> JobManager::ListWorkers() {
  absl::MutexLock lock(&mutex_);
  std::vector<WorkerView> views;
  for (const auto& [id, worker] : workers_.all()) {
    views.push_back(ViewOf(worker));
  }
  return views;
}

absl::StatusOr<WorkerView> JobManager::DrainWorker(const std::string& id,
                                                   bool drain) {
  const auto not_found = [&] {
    return WithReason(
        absl::NotFoundError(absl::StrCat(
            "no worker ", id, " is known; `dasmctl workers` lists them")),
        "WORKER_NOT_FOUND", "name");
  };
  CommitWaiter waiter;
  {
    absl::MutexLock lock(&mutex_);
    DASM_RETURN_IF_ERROR(CheckReady());
    if (workers_.Find(id) == nullptr) return not_found();
    ++in_flight_;
  }
  Transaction transaction;
  transaction.workers.push_back({id, drain});
  parts_.store->Commit(std::move(transaction),
                       [this, callback = waiter.Callback()](
                           absl::StatusOr<CommitReceipt> receipt) mutable {
                         {
                           absl::MutexLock lock(&mutex_);
                           --in_flight_;
                         }
                         std::move(callback)(receipt.status());
                       });
  DASM_RETURN_IF_ERROR(waiter.Wait());
  After after;
  absl::StatusOr<WorkerView> view = not_found();
  {
    absl::MutexLock lock(&mutex_);
    if (drain) {
      workers_.drained().insert(id);
    } else {
      workers_.drained().erase(id);
    }
    NewsOfLeaving(id, &after);
    if (const LiveWorker* worker = workers_.Find(id); worker != nullptr) {
      view = ViewOf(*worker);
    }
    kicked_ = true;
  }
  for (auto& call : after) std::move(call)();
  return view;
}

void JobManager::ReportBadBlob(const std::string& digest) {
  for (int attempt = 0; attempt < 10; ++attempt) {
    uint64_t evictions = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (!CheckReady().ok()) return;
      evictions = table_.evictions();
    }
    absl::StatusOr<std::vector<ActionRecord>> actions =
        parts_.store->FindActionsByOutput(digest);
    if (!actions.ok()) return;
    absl::MutexLock lock(&mutex_);
    if (evictions != table_.evictions()) continue;  // may be old: read again
    Changes changes;
    for (ActionRecord& stored : *actions) {
      const std::string key = stored.key;
      bool makes_it = false;
      bool checkpoint = false;
      for (const auto& [name, output] : stored.outputs) {
        makes_it = makes_it || output.blob.digest == digest;
      }
      for (const CheckpointRecord& kept : stored.checkpoints) {
        checkpoint = checkpoint || kept.blob.digest == digest;
      }
      if (!makes_it && !checkpoint) continue;
      table_.AddAction(std::move(stored));
      LiveAction* action = table_.FindAction(key);
      if (makes_it) {
        DASM_LOG(WARNING, "result lost, its task is queued again")
            .Kv("digest", digest)
            .Kv("task", key);
        table_.Repair(action, &changes);
      }
      if (checkpoint) table_.DropCheckpoint(action, digest, &changes);
    }
    if (!changes.empty()) Enqueue(std::move(changes), nullptr);
    kicked_ = true;
    return;
  }
}

}  // namespace dasm
