// The part of JobManager that gives up results nobody needs now.
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/spec/task_parameters.h"
#include "server/job/state.h"
#include "server/manager/commit_waiter.h"
#include "server/manager/job_manager.h"

namespace dasm {
namespace {

constexpr int kPage = 1000;

bool IsKept(const ActionRecord& action) {
  return action.state == ActionState::kSucceeded &&
         action.prune_time == absl::InfinitePast();
}

absl::Status InUse(const JobManager::PruneOutcome& outcome) {
  const ActionRecord& first = outcome.in_use.front();
  std::string who = "a job that has just begun to use it";
  if (const auto users = outcome.users.find(first.key);
      users != outcome.users.end() && !users->second.empty()) {
    who = absl::StrCat("job ", users->second.front().id);
  }
  return WithReason(
      absl::FailedPreconditionError(
          absl::StrCat("the result of ", first.kind, " ",
                       first.key.substr(0, 12), " is in use by ", who,
                       "; wait for its end, or cancel it. Nothing was pruned")),
      "RESULT_IN_USE", "names");
}

}  // namespace

absl::StatusOr<JobManager::PruneOutcome> JobManager::PruneResults(
    const std::vector<std::string>& keys, bool all_or_none, bool dry_run) {
  const std::set<std::string> wanted(keys.begin(), keys.end());
  for (int attempt = 0; attempt < 10; ++attempt) {
    uint64_t evictions = 0;
    {
      absl::MutexLock lock(&mutex_);
      DASM_RETURN_IF_ERROR(CheckReady());
      evictions = table_.evictions();
    }
    // A binding that is durable is found here, one that is not yet is in
    // memory; one that was both evicted and missed here counts as an eviction.
    std::vector<ActionRecord> results;
    PruneOutcome outcome;
    for (const std::string& key : wanted) {
      absl::StatusOr<ActionRecord> action = parts_.store->GetAction(key);
      if (absl::IsNotFound(action.status())) continue;
      DASM_RETURN_IF_ERROR(action.status());
      if (!IsKept(*action)) continue;
      DASM_ASSIGN_OR_RETURN(outcome.users[key],
                            parts_.store->ListLiveUsers(key));
      results.push_back(*std::move(action));
    }
    CommitWaiter waiter;
    {
      absl::MutexLock lock(&mutex_);
      DASM_RETURN_IF_ERROR(CheckReady());
      if (evictions != table_.evictions()) continue;
      for (ActionRecord& result : results) {
        const bool in_use = !outcome.users.at(result.key).empty() ||
                            table_.FindAction(result.key) != nullptr;
        (in_use ? outcome.in_use : outcome.pruned).push_back(std::move(result));
      }
      if (all_or_none && !outcome.in_use.empty()) return InUse(outcome);
      if (!dry_run) {
        Changes changes;
        for (const ActionRecord& result : outcome.pruned) {
          table_.AddAction(result);
          table_.Prune(table_.FindAction(result.key), &changes);
        }
        Enqueue(std::move(changes), waiter.Callback());
      }
    }
    if (!dry_run) DASM_RETURN_IF_ERROR(waiter.Wait());
    DASM_ASSIGN_OR_RETURN(const auto blobs, BlobsOnlyOf(outcome.pruned));
    for (const auto& [digest, size] : blobs) outcome.bytes += size;
    if (!dry_run && !outcome.pruned.empty()) {
      RemoveBlobsOfPruned(outcome.pruned);
      DASM_LOG(INFO, "results pruned")
          .Kv("results", outcome.pruned.size())
          .Kv("in_use", outcome.in_use.size())
          .Kv("bytes", outcome.bytes);
    }
    return outcome;
  }
  return absl::UnavailableError(
      "jobs come and go too fast to tell what is in use; try again");
}

absl::StatusOr<std::map<std::string, int64_t>> JobManager::BlobsOnlyOf(
    const std::vector<ActionRecord>& results) {
  std::set<std::string> own;
  for (const ActionRecord& result : results) own.insert(result.key);
  std::map<std::string, int64_t> blobs;
  for (const ActionRecord& result : results) {
    for (const auto& [name, output] : result.outputs) {
      const std::string& digest = output.blob.digest;
      if (blobs.contains(digest)) continue;
      DASM_ASSIGN_OR_RETURN(const std::vector<ActionRecord> users,
                            parts_.store->FindActionsByOutput(digest));
      bool shared = false;
      for (const ActionRecord& user : users) {
        for (const auto& [other, same] : user.outputs) {
          shared = shared || (same.blob.digest == digest && IsKept(user) &&
                              !own.contains(user.key));
        }
      }
      if (!shared) blobs[digest] = output.blob.size_bytes;
    }
  }
  return blobs;
}

void JobManager::RemoveBlobsOfPruned(const std::vector<ActionRecord>& pruned) {
  const auto blobs = BlobsOnlyOf(pruned);
  if (!blobs.ok()) return;  // at the next start
  for (const ActionRecord& result : pruned) {
    for (const auto& [name, output] : result.outputs) {
      const std::string& digest = output.blob.digest;
      if (!blobs->contains(digest)) continue;
      // Under the lock, so that no new attempt brings the same bytes meanwhile.
      absl::MutexLock lock(&mutex_);
      const LiveAction* live = table_.FindAction(result.key);
      if (live != nullptr && (IsKept(live->record) ||
                              live->record.state == ActionState::kRunning)) {
        continue;
      }
      const absl::Status removed = parts_.blobs->Remove(digest);
      if (!removed.ok()) {
        DASM_LOG(WARNING, "a pruned blob was not removed")
            .Kv("digest", digest)
            .Kv("error", std::string(removed.message()));
      }
    }
  }
}

void JobManager::FinishPruning() {
  ResultFilter filter;
  filter.kind = TrainExpertsParameters::kKind;
  filter.pruned = true;
  ResultPosition after;
  for (;;) {
    const auto page = parts_.store->ListResults(filter, after, kPage);
    if (!page.ok() || page->empty()) return;
    std::vector<ActionRecord> left;
    for (const ActionRecord& result : *page) {
      std::vector<std::string> digests;
      for (const auto& [name, output] : result.outputs) {
        digests.push_back(output.blob.digest);
      }
      if (parts_.blobs->FindMissing(digests).size() < digests.size()) {
        left.push_back(result);
      }
    }
    RemoveBlobsOfPruned(left);
    after = {page->back().end_time, page->back().key};
  }
}

}  // namespace dasm
